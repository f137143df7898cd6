package com.futu.openapi;

/** What the broker's SDK is started with; there is nothing to start here. */
public final class FTAPI {
    private FTAPI() {}

    public static void init() {}
}
