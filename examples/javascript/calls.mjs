// Rendered by codegen from templates/examples/javascript/calls.mjs.j2. Do not edit: change the template, then run "python -m codegen".
// The calls that are bound, and what the published npm packages may lack of them.

/** Of each method: its protocol, and the namespace of its messages. */
export const CALLS = {
    GetShortInterest: [3249, "Qot_GetShortInterest"],
    GetDailyShortVolume: [3248, "Qot_GetDailyShortVolume"],
};

/** Of each message: its fields, as protobuf.js takes them. A message stands behind the one that it is nested in. */
export const MESSAGES = {
    "Qot_GetShortInterest.C2S": {
        security: { id: 1, type: "Qot_Common.Security" },
        nextKey: { id: 2, type: "string" },
        num: { id: 3, type: "int32" },
    },
    "Qot_GetShortInterest.UsShortInterestItem": {
        timestamp: { id: 1, type: "int64" },
        timestampStr: { id: 2, type: "string" },
        sharesShort: { id: 3, type: "uint64" },
        shortPercent: { id: 4, type: "double" },
        avgDailyShareVolume: { id: 5, type: "uint64" },
        daysToCover: { id: 6, type: "double" },
        closePrice: { id: 7, type: "double" },
        lastClosePrice: { id: 8, type: "double" },
    },
    "Qot_GetShortInterest.HkShortInterestItem": {
        timestamp: { id: 1, type: "int64" },
        timestampStr: { id: 2, type: "string" },
        closePrice: { id: 3, type: "double" },
        lastClosePrice: { id: 4, type: "double" },
        aggregatedShort: { id: 5, type: "uint64" },
        aggregatedShortRatio: { id: 6, type: "double" },
    },
    "Qot_GetShortInterest.S2C": {
        usItemList: { id: 1, type: "Qot_GetShortInterest.UsShortInterestItem", rule: "repeated" },
        hkItemList: { id: 2, type: "Qot_GetShortInterest.HkShortInterestItem", rule: "repeated" },
        nextKey: { id: 3, type: "string" },
    },
    "Qot_GetShortInterest.Request": {
        c2s: { id: 1, type: "Qot_GetShortInterest.C2S" },
    },
    "Qot_GetShortInterest.Response": {
        retType: { id: 1, type: "int32" },
        retMsg: { id: 2, type: "string" },
        errCode: { id: 3, type: "int32" },
        s2c: { id: 4, type: "Qot_GetShortInterest.S2C" },
    },
    "Qot_GetDailyShortVolume.C2S": {
        security: { id: 1, type: "Qot_Common.Security" },
        nextKey: { id: 2, type: "string" },
        num: { id: 3, type: "int32" },
    },
    "Qot_GetDailyShortVolume.UsDailyShortVolumeItem": {
        timestamp: { id: 1, type: "int64" },
        timestampStr: { id: 2, type: "string" },
        totalSharesShort: { id: 3, type: "uint64" },
        nasdaqSharesShort: { id: 4, type: "uint64" },
        nyseSharesShort: { id: 5, type: "uint64" },
        shortPercent: { id: 6, type: "double" },
        volume: { id: 7, type: "uint64" },
        closePrice: { id: 8, type: "double" },
        lastClosePrice: { id: 9, type: "double" },
        dailyTradeAvgRatio: { id: 10, type: "double" },
    },
    "Qot_GetDailyShortVolume.HkDailyShortVolumeItem": {
        timestamp: { id: 1, type: "int64" },
        timestampStr: { id: 2, type: "string" },
        sharesTraded: { id: 3, type: "uint64" },
        turnover: { id: 4, type: "double" },
        shortSellSharesTraded: { id: 5, type: "uint64" },
        shortSellTurnover: { id: 6, type: "double" },
        openPrice: { id: 7, type: "double" },
        closePrice: { id: 8, type: "double" },
        lastClosePrice: { id: 9, type: "double" },
        dailyTradeAvgRatio: { id: 10, type: "double" },
    },
    "Qot_GetDailyShortVolume.S2C": {
        usItemList: { id: 1, type: "Qot_GetDailyShortVolume.UsDailyShortVolumeItem", rule: "repeated" },
        hkItemList: { id: 2, type: "Qot_GetDailyShortVolume.HkDailyShortVolumeItem", rule: "repeated" },
        nextKey: { id: 3, type: "string" },
        aggregatedShort: { id: 4, type: "int64" },
        aggregatedShortRatio: { id: 5, type: "double" },
        newTimeStr: { id: 6, type: "string" },
    },
    "Qot_GetDailyShortVolume.Request": {
        c2s: { id: 1, type: "Qot_GetDailyShortVolume.C2S" },
    },
    "Qot_GetDailyShortVolume.Response": {
        retType: { id: 1, type: "int32" },
        retMsg: { id: 2, type: "string" },
        errCode: { id: 3, type: "int32" },
        s2c: { id: 4, type: "Qot_GetDailyShortVolume.S2C" },
    },
};

/** Namespaces to import from "futu-api/proto" and "moomoo-api/proto". */
export const NAMESPACES = [
    "Common",
    "Qot_Common",
    "GetGlobalState",
    "InitConnect",
    "InitWebSocket",
    "KeepAlive",
    "Qot_GetDailyShortVolume",
    "Qot_GetShortInterest",
];
