package com.futu.openapi;

/** What a program does when a link begins and ends. */
public interface FTSPI_Conn {
    void onInitConnect(FTAPI_Conn client, long errCode, String desc);

    void onDisconnect(FTAPI_Conn client, long errCode);
}
