// What the published npm packages futu-api and moomoo-api lack, so that the samples of the brokers' page run as they stand:
//
//     node --import ./opend-si.mjs futu.mjs
//
// It gives a WebSocket where Node has none, names to import from "futu-api/proto", and the methods and messages of calls.mjs.
// OPEND_WEBSOCKET=ws://host:port goes before the address in a sample.
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";
import { CALLS, MESSAGES, NAMESPACES } from "./calls.mjs";

/** Give the client of a package the methods of the calls, and its messages those that are missing. */
export function complete(Client, root, protobuf) {
    for (const [name, fields] of Object.entries(MESSAGES)) {
        const [, scope, own] = /^(.+)\.(.+)$/.exec(name);
        if (!root.lookup(name)) (root.lookup(scope) ?? root.define(scope)).add(protobuf.Type.fromJSON(own, { fields }));
    }
    for (const [method, [protocol, messages]] of Object.entries(CALLS)) {
        Client.prototype[method] ??= function (request) { return this._sendCmd(protocol, request, messages); };
    }
    const { stop } = Client.prototype; // it leaves the link open, and so the program would never end
    Client.prototype.stop = function () { stop.call(this); this.websock?.close(); };
}

if (isMainThread) {
    const { WebSocket } = globalThis.WebSocket ? globalThis : await import("ws");
    globalThis.WebSocket = class extends WebSocket {
        constructor(url) { super(process.env.OPEND_WEBSOCKET ?? url); }
    };
    console.debug = console.error; // the packages use it a lot: a browser hides it, Node prints it among the data
    register(import.meta.url); // Node calls resolve and load in a thread of their own
}

/** "futu-api" and "futu-api/proto" are both the module below. */
export async function resolve(specifier, context, next) {
    const name = /^((?:futu|moomoo)-api)(\/proto)?$/.exec(specifier)?.[1];
    if (!name) return next(specifier, context);
    const { url } = await next(`${name}/main.js`, context);
    return { url: `${url}?complete`, format: "module", shortCircuit: true };
}

export async function load(url, context, next) {
    // These two are modules, but their package.json does not say so.
    if (/\/(futu|moomoo)-api\/(main|base)\.js$/.test(url)) return next(url, { ...context, format: "module" });
    if (!url.endsWith("?complete")) return next(url, context);
    const main = url.replace("?complete", "");
    const source = `
        import Client from "${main}";
        import root from "${new URL("proto.js", main)}";
        import protobuf from "protobufjs";
        import { complete } from "${import.meta.url}";
        complete(Client, root, protobuf);
        export * from "${main}";
        export default Client;
        export const { ${NAMESPACES.join(", ")} } = root;`;
    return { source, format: "module", shortCircuit: true };
}
