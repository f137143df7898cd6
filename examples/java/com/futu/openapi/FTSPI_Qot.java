// Rendered by codegen from templates/examples/java/com/futu/openapi/FTSPI_Qot.java.j2. Do not edit: change the template, then run "python -m codegen".
package com.futu.openapi;

import com.futu.openapi.pb.QotGetShortInterest;
import com.futu.openapi.pb.QotGetDailyShortVolume;

/** What a program does with replies. */
public interface FTSPI_Qot {
    default void onReply_GetShortInterest(FTAPI_Conn client, int nSerialNo, QotGetShortInterest.Response rsp) {}
    default void onReply_GetDailyShortVolume(FTAPI_Conn client, int nSerialNo, QotGetDailyShortVolume.Response rsp) {}
}
