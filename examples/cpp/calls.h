// Rendered by codegen from templates/examples/cpp/calls.h.j2. Do not edit: change the template, then run "python -m codegen".
// The calls that are bound, and the markets they take.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "Qot_GetShortInterest.pb.h"
#include "Qot_GetDailyShortVolume.pb.h"

// Of each request: its protocol, what it is called, and its reply.
template <class Request> struct Call;

template <> struct Call<Qot_GetShortInterest::Request> {
    using Response = Qot_GetShortInterest::Response;
    static constexpr std::uint32_t protocol = 3249;
    static constexpr const char *name = "Qot_GetShortInterest";
};

template <> struct Call<Qot_GetDailyShortVolume::Request> {
    using Response = Qot_GetDailyShortVolume::Response;
    static constexpr std::uint32_t protocol = 3248;
    static constexpr const char *name = "Qot_GetDailyShortVolume";
};

// Markets by the prefix of a symbol.
inline const std::map<std::string, Qot_Common::QotMarket> MARKETS = {
    {"HK", Qot_Common::QotMarket_HK_Security},
    {"US", Qot_Common::QotMarket_US_Security},
};
