package com.futu.openapi;

import com.futu.openapi.pb.InitConnect;
import com.futu.openapi.pb.KeepAlive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** A link to an OpenD without a key. OPEND_HOST and OPEND_PORT, where they are set, go before what initConnect is given. */
public abstract class FTAPI_Conn {
    private static final int INIT_CONNECT = 1001, KEEP_ALIVE = 1004;
    private static final int KEEP_ALIVE_MS = 9_000; // OpenD asks for 10 s
    private static final int HEADER = 44, MOST = 64 << 20; // bytes; no reply is longer than MOST

    private final InitConnect.C2S.Builder hello = InitConnect.C2S.newBuilder().setRecvNotify(true).setPacketEncAlgo(-1);
    private FTSPI_Conn spi;
    private Socket socket;
    private long connectID;
    private int serial;

    public void setClientInfo(String clientID, int clientVer) {
        hello.setClientID(clientID).setClientVer(clientVer);
    }

    public void setConnSpi(FTSPI_Conn spi) {
        this.spi = spi;
    }

    public long getConnectID() {
        return connectID;
    }

    /** Connects and reads in a thread of its own: all that comes is given to the program there. */
    public boolean initConnect(String host, short port, boolean isEnableEncrypt) {
        if (isEnableEncrypt) throw new UnsupportedOperationException("this example has no encryption");
        String opend = System.getenv().getOrDefault("OPEND_HOST", host);
        String at = System.getenv().getOrDefault("OPEND_PORT", String.valueOf(port & 0xffff));
        new Thread(() -> serve(opend, Integer.parseInt(at))).start();
        return true;
    }

    /** Gives a reply to the program. */
    protected abstract void onReply(int protocol, int serial, byte[] body) throws InvalidProtocolBufferException;

    /** Sends a request; its serial. */
    protected synchronized int send(int protocol, Message request) {
        byte[] body = request.toByteArray();
        ByteBuffer frame = ByteBuffer.allocate(HEADER + body.length).order(ByteOrder.LITTLE_ENDIAN);
        frame.put((byte) 'F').put((byte) 'T').putInt(protocol).putShort((short) 0).putInt(++serial).putInt(body.length);
        try {
            frame.put(MessageDigest.getInstance("SHA-1").digest(body)).putLong(0).put(body);
            socket.getOutputStream().write(frame.array());
        } catch (NoSuchAlgorithmException | IOException error) {
            throw new IllegalStateException(error);
        }
        return serial;
    }

    private void serve(String host, int port) {
        boolean isInit = false;
        try (Socket opend = new Socket(host, port)) {
            socket = opend;
            DataInputStream in = new DataInputStream(opend.getInputStream());
            send(INIT_CONNECT, InitConnect.Request.newBuilder().setC2S(hello).build());
            while (true) {
                ByteBuffer header = header(in);
                int protocol = header.getInt(2), replied = header.getInt(8);
                byte[] body = new byte[header.getInt(12)];
                in.readFully(body);
                if (protocol == INIT_CONNECT) {
                    InitConnect.Response reply = InitConnect.Response.parseFrom(body);
                    connectID = reply.getS2C().getConnID();
                    isInit = true;
                    spi.onInitConnect(this, reply.getRetType(), reply.getRetMsg());
                } else {
                    onReply(protocol, replied, body);
                }
            }
        } catch (IOException | IllegalStateException error) {
            if (isInit) spi.onDisconnect(this, -1);
            else spi.onInitConnect(this, -1, String.valueOf(error.getMessage()));
        }
    }

    /** The next header; while none comes, OpenD hears that this side is there. */
    private ByteBuffer header(DataInputStream in) throws IOException {
        byte[] bytes = new byte[HEADER];
        socket.setSoTimeout(KEEP_ALIVE_MS);
        while (true) {
            try {
                bytes[0] = in.readByte();
                break;
            } catch (SocketTimeoutException silence) {
                KeepAlive.C2S now = KeepAlive.C2S.newBuilder().setTime(System.currentTimeMillis() / 1000).build();
                send(KEEP_ALIVE, KeepAlive.Request.newBuilder().setC2S(now).build());
            }
        }
        socket.setSoTimeout(0);
        in.readFully(bytes, 1, HEADER - 1);
        ByteBuffer header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int length = header.getInt(12);
        if (bytes[0] != 'F' || bytes[1] != 'T' || length < 0 || length > MOST)
            throw new IOException("what answers does not speak OpenD's protocol");
        return header;
    }
}
