/**
 * Where the server is, and the calls over HTTP.
 */
import { definitionOf, listOf } from './users.js';

// some 90 KB of answer: long lists show their beginning early, and no one request holds up another's
const BATCH = 1000;

/** A call that the server refused (a problem document, RFC 9457), or that did not reach it. */
export class AglowError extends Error {
    name = 'AglowError';

    constructor({ status = 0, title, detail, retryAfterSeconds, cause }) {
        super(`${title}: ${detail}`, { cause });
        Object.assign(this, { status, title, detail, retryAfterSeconds });
    }
}

/** The address of one of the server's paths; a server may live below a path of its own. */
export function addressOf(url, path) {
    const base = String(url ?? globalThis.location?.origin ?? '');
    if (!/^https?:\/\/[^/]/i.test(base))
        throw new TypeError(`"url" is ${base ? `"${base}"` : 'missing'}: give the server's address, such as https://presence.example.`);
    const address = new URL(base);
    address.pathname = address.pathname.replace(/\/*$/, path);
    address.search = address.hash = '';
    return address;
}

/** The token, made anew where it is made. */
export const tokenOf = async ({ token }) => (typeof token === 'function' ? token() : token);

/** A token as subprotocols of a socket, of which the server chooses the first. JWTs and keys of backends may stand there; a text of somebody's own may not. */
export function protocolsOf(token) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(token))
        throw new TypeError('the token is empty or has a character that no subprotocol may have, as no JWT does; '
            + 'where a server of your own reads it from ?access_token=, set "tokenInUrl"');
    return ['aglow', `aglow.token.${token}`];
}

/** The calls over HTTP, for one server and one caller. */
export function http(options = {}) {
    addressOf(options.url, ''); // a wrong one is said now, not by the first call
    if (options.user !== undefined)
        listOf(options.user);

    async function post(path, body, definition) {
        const address = addressOf(options.url, path);
        if (definition !== undefined)
            address.searchParams.set('definition', definition);
        const token = await tokenOf(options);
        const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
        let response;
        try {
            response = await (options.fetch ?? fetch)(address, { method: 'POST', headers, body: JSON.stringify(body) });
        } catch (cause) {
            throw new AglowError({ title: 'No answer', detail: `${address.origin} could not be reached. Is the server running?`, cause });
        }

        const answer = await response.json().catch(() => ({}));
        if (response.ok)
            return answer;
        throw new AglowError({
            status: response.status,
            title: answer.title ?? `HTTP ${response.status}`,
            detail: answer.detail ?? `${address} did not answer as an Aglow server does. Is "url" right?`,
            retryAfterSeconds: Number(response.headers.get('Retry-After')) || undefined,
        });
    }

    async function status(users, asked) {
        const list = listOf(users);
        const definition = definitionOf(asked);
        const records = new Map();
        for (let at = 0; at < list.length; at += BATCH) {
            const batch = list.slice(at, at + BATCH);
            const answers = await post('/status/batch', { user_ids: batch }, definition);
            batch.forEach((user, i) => records.set(user, answers[i]));
        }

        return records;
    }

    // by the same call, since a key such as "users" or ".." means something else in a path
    const statusOf = async (user, asked) => (await status([user], asked)).get(user);

    async function heartbeat(users = options.user, { active } = {}) {
        if (users === undefined && !options.token)
            throw new TypeError('Whose heartbeat? Give "user" (or "token") in the options, or users here.');
        return post('/heartbeat', { user_ids: users === undefined ? undefined : listOf(users), active });
    }

    return { status, statusOf, heartbeat };
}
