// Short interest from OpenD in C++: the TCP frames, and a walk to the oldest row.
//
//     short_interest [CODE [NUM]]        short_interest HK.00700 10
//
// OPEND_HOST and OPEND_PORT say where OpenD is. It must be one without a key: nothing is encrypted here.
// Each reply is printed as the brokers' page shows it. A walk of more than 30 pages meets OpenD's limit and ends there.

#include <cstdlib>
#include <cstring>
#include <endian.h>
#include <iostream>
#include <netdb.h>
#include <openssl/sha.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

#include <google/protobuf/text_format.h>

#include "InitConnect.pb.h"
#include "calls.h"

template <> struct Call<InitConnect::Request> {
    using Response = InitConnect::Response;
    static constexpr std::uint32_t protocol = 1001;
};

// What stands before each body; numbers are little-endian.
struct Header {
    char magic[2] = {'F', 'T'};
    std::uint32_t protocol = 0;
    std::uint8_t format = 0, version = 0;  // protobuf; the only version there is
    std::uint32_t serial = 0, length = 0;
    unsigned char sha1[SHA_DIGEST_LENGTH] = {};
    char reserved[8] = {};
} __attribute__((packed));
static_assert(sizeof(Header) == 44);

class Link {
public:
    std::uint32_t serial = 1;  // of the last request; like the broker's SDK it begins with 2

    Link(const char *host, const char *port) {
        addrinfo hints{}, *found = nullptr;
        hints.ai_socktype = SOCK_STREAM;
        if (int error = getaddrinfo(host, port, &hints, &found)) throw std::runtime_error(gai_strerror(error));
        socket_ = socket(found->ai_family, found->ai_socktype, 0);
        bool is_open = socket_ >= 0 && connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
        freeaddrinfo(found);
        if (!is_open) throw std::runtime_error(std::string("no OpenD at ") + host + ":" + port);
    }
    ~Link() { close(socket_); }

    template <class Request> typename Call<Request>::Response ask(const Request &request) {
        std::string body = request.SerializeAsString();
        Header header;
        header.protocol = htole32(Call<Request>::protocol);
        header.serial = htole32(++serial);
        header.length = htole32(body.size());
        SHA1(reinterpret_cast<const unsigned char *>(body.data()), body.size(), header.sha1);
        body.insert(0, reinterpret_cast<const char *>(&header), sizeof header);
        if (send(socket_, body.data(), body.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(body.size()))
            throw std::runtime_error("OpenD closed the link");
        do {  // other frames are pushes
            receive(&header, sizeof header);
            if (std::memcmp(header.magic, "FT", 2) != 0 || le32toh(header.length) > MOST)
                throw std::runtime_error("what answers does not speak OpenD's protocol");
            body.resize(le32toh(header.length));
            receive(body.data(), body.size());
        } while (le32toh(header.protocol) != Call<Request>::protocol || le32toh(header.serial) != serial);
        typename Call<Request>::Response reply;
        if (!reply.ParseFromString(body)) throw std::runtime_error("a reply that is no message");
        return reply;
    }

private:
    static constexpr std::uint32_t MOST = 64 << 20;  // no reply is longer
    int socket_;

    void receive(void *into, std::size_t length) {
        if (recv(socket_, into, length, MSG_WAITALL) != static_cast<ssize_t>(length))
            throw std::runtime_error("OpenD closed the link");
    }
};

std::string setting(const char *name, const char *otherwise) {
    const char *value = std::getenv(name);
    return value ? value : otherwise;
}

int main(int count, char **arguments) try {
    const std::string code = count > 1 ? arguments[1] : "HK.00700", prefix = code.substr(0, code.find('.'));
    Qot_GetShortInterest::Request request;
    auto *c2s = request.mutable_c2s();
    c2s->mutable_security()->set_market(MARKETS.at(prefix));
    c2s->mutable_security()->set_code(code.substr(prefix.size() + 1));
    c2s->set_num(count > 2 ? std::atoi(arguments[2]) : 50);

    Link link(setting("OPEND_HOST", "127.0.0.1").c_str(), setting("OPEND_PORT", "11111").c_str());
    InitConnect::Request hello;
    hello.mutable_c2s()->set_clientver(1);
    hello.mutable_c2s()->set_clientid("cppclient");
    hello.mutable_c2s()->set_packetencalgo(-1);
    const auto welcome = link.ask(hello);
    std::cout << "onInitConnect: ret=" << welcome.rettype()
              << " desc=" << (welcome.rettype() ? welcome.retmsg() : "Succeed!") << std::endl;
    if (welcome.rettype() != 0) return 1;

    google::protobuf::TextFormat::Printer printer;
    printer.SetUseUtf8StringEscaping(true);  // refusals may be in Chinese
    for (std::string next; next != "-1"; c2s->set_nextkey(next)) {
        const auto reply = link.ask(request);
        std::string text;
        printer.PrintToString(reply, &text);
        std::cout << "Send " << Call<Qot_GetShortInterest::Request>::name << " seqNo=" << link.serial << "\n" << text;
        if (reply.rettype() != 0) return 1;
        if (reply.s2c().nextkey() == next) throw std::runtime_error("the cursor " + next + " leads to itself");
        next = reply.s2c().has_nextkey() ? reply.s2c().nextkey() : "-1";
    }
    return 0;
} catch (const std::out_of_range &) {
    std::cerr << "a code begins with its market, such as HK.00700 or US.AAPL" << std::endl;
    return 2;
} catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return 1;
}
