// Rendered by codegen from templates/examples/java/com/futu/openapi/FTAPI_Conn_Qot.java.j2. Do not edit: change the template, then run "python -m codegen".
package com.futu.openapi;

import com.google.protobuf.InvalidProtocolBufferException;
import com.futu.openapi.pb.QotGetShortInterest;
import com.futu.openapi.pb.QotGetDailyShortVolume;

/** A link that asks the calls that are bound. */
public class FTAPI_Conn_Qot extends FTAPI_Conn {
    private FTSPI_Qot spi;

    public void setQotSpi(FTSPI_Qot spi) {
        this.spi = spi;
    }

    public int getShortInterest(QotGetShortInterest.Request req) {
        return send(3249, req);
    }

    public int getDailyShortVolume(QotGetDailyShortVolume.Request req) {
        return send(3248, req);
    }

    @Override
    protected void onReply(int protocol, int serial, byte[] body) throws InvalidProtocolBufferException {
        switch (protocol) {
            case 3249:
                spi.onReply_GetShortInterest(this, serial, QotGetShortInterest.Response.parseFrom(body));
                break;
            case 3248:
                spi.onReply_GetDailyShortVolume(this, serial, QotGetDailyShortVolume.Response.parseFrom(body));
                break;
            default: // a push that nobody asked for
        }
    }
}
