// Runs the steps that argv names on a published npm package and prints what each gave, as JSON.
const { brand, port, ssl, key, steps } = JSON.parse(process.argv[2]);
const { default: Client } = await import(`${brand}-api`);
const client = new Client();

const logins = [];
let loggedIn;
client.onlogin = (ret, message) => {
    logins.push(ret ? true : message);
    loggedIn?.();
};
const pushes = [];
let pushed;
client.onPush = (command, message) => {
    pushes.push([command, message]);
    pushed?.();
};
const nextLogin = () => new Promise((resolve) => { loggedIn = resolve; });

/** All pages of a call, from the newest row to the oldest. */
async function walk(method, market, code, num) {
    const pages = [];
    for (let nextKey = ""; nextKey !== "-1"; nextKey = pages.at(-1).nextKey) {
        const c2s = { security: { market, code }, num, ...(nextKey && { nextKey }) };
        pages.push((await client[method]({ c2s })).s2c);
    }
    return pages;
}

const STEPS = {
    login: () => logins,
    connection: () => String(client.getConnID()),
    state: async () => (await client.GetGlobalState({ c2s: { userID: 0 } })).s2c,
    walk,
    // A refusal is what the promise is rejected with.
    refused: (method, market, code) => client[method]({ c2s: { security: { market, code } } }).catch((refusal) => refusal),
    async subscribe(count) {
        const all = new Promise((resolve) => { pushed = () => pushes.length === count && resolve(); });
        const securityList = [{ market: 1, code: "00700" }];
        const c2s = { securityList, subTypeList: [1], isSubOrUnSub: true, isRegOrUnRegPush: true };
        const { retType } = await client.Sub({ c2s });
        await all;
        return [retType, pushes];
    },
    // How many rows each page has, and the milliseconds that all took.
    async together(method, market, code, count, num) {
        const begun = performance.now();
        const asked = Array.from({ length: count }, (_, index) =>
            client[method]({ c2s: { security: { market, code }, num: num || index % 50 + 1 } }));
        const counts = (await Promise.all(asked)).map(({ s2c }) => s2c.hkItemList.length);
        return [counts, performance.now() - begun];
    },
    // OpenD goes under a request, and comes back.
    async outage(method, market, code) {
        const again = nextLogin();
        const refusal = await client[method]({ c2s: { security: { market, code } } }).catch((refusal) => refusal);
        await again;
        return [refusal, logins];
    },
};

const begun = nextLogin();
client.start("127.0.0.1", port, ssl, key);
await begun;
const given = [];
for (const [step, ...values] of steps) given.push(await STEPS[step](...values));
console.log(JSON.stringify(given));
client.stop();
