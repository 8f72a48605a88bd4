/** The calls over HTTP, and their errors. */
import { Addresses, addressOf } from './addresses.js';
import { deviceOf } from './device.js';
import { definitionOf, listOf } from './users.js';

// about 90 KB per answer: the first users of a long list come early, and no request delays others for long
const BATCH = 1000;

// the timeout of an application's callback, or of a call of this client
const CALLBACK_WITHIN_MS = 10_000;

const OURS = 'urn:aglow:';

/** A call that the server rejected (a problem document, RFC 9457), or that did not reach it. */
export class AglowError extends Error {
    name = 'AglowError';

    constructor({ status = 0, type, title, detail, retryAfterSeconds, cause }) {
        super(`${title}: ${detail}`, { cause });
        Object.assign(this, { status, type, title, detail, retryAfterSeconds });
    }
}

/** Whether the server itself answered, and not a proxy in front of it. */
export const isOwn = ({ type }) => String(type).startsWith(OURS);

/** Settles as the promise does, but rejects after 10 s. */
export function inTime(promise, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what} did not complete within ${CALLBACK_WITHIN_MS / 1000} s`)), CALLBACK_WITHIN_MS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * The token, from the callback if there is one; undefined without a token. Rejects when the callback throws, takes too long, or does not
 * return a token.
 */
export async function tokenOf({ token }) {
    if (typeof token !== 'function')
        return token ?? undefined;
    const made = await inTime(Promise.resolve().then(token), 'the token callback');
    if (typeof made !== 'string' || made === '')
        throw new TypeError(`the token callback gave ${JSON.stringify(made)}. It gives a token as text; `
            + 'where nobody is signed in, close the connection');
    return made;
}

/** The token as subprotocols of a socket; the server chooses the first. JWTs and keys of backends fit in there; arbitrary text does not. */
export function protocolsOf(token) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(token))
        throw new TypeError('the token is empty, or has a character that no subprotocol has; '
            + 'if your own server reads it from ?access_token=, set "tokenInUrl"');
    return ['aglow', `aglow.token.${token}`];
}

/**
 * Whether another address may answer otherwise: this one did not answer, a gateway did, or the server has a failure of its own. Other
 * answers of the server hold for all of its addresses.
 */
const mayDifferElsewhere = (failure) => !isOwn(failure) || failure.status >= 500;

/** Sends a JSON call to the address in use, and to the others until one answers. `known` is a token that the caller already has. */
export async function post(options, path, body, { known, ...how } = {}) {
    const { addresses } = options;
    const token = known ?? (await tokenOf(options));
    for (let left = addresses.count; ; left--) {
        const url = addresses.used;
        try {
            return await postTo(url, options, path, body, token, how);
        } catch (failure) {
            if (left === 1 || !mayDifferElsewhere(failure))
                throw failure;
            addresses.leave(url);
        }
    }
}

/** Sends a JSON call to one address. */
const postTo = (url, options, path, body, token, { query, keepalive } = {}) =>
    fetchJson(addressOf(url, path, query), options, token, { method: 'POST', body: JSON.stringify(body), keepalive });

/** Sends a request, and reads its JSON answer. */
export async function fetchJson(address, options, token, request) {
    const origin = address.slice(0, address.indexOf('/', 8));
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
        response = await (options.fetch ?? fetch)(address, { ...request, headers });
    } catch (cause) {
        throw new AglowError({ title: 'No answer', detail: `${origin} could not be reached. Is the server running?`, cause });
    }

    const answer = await response.json().catch(() => undefined);
    if (response.ok && answer)
        return answer;
    throw new AglowError({
        status: response.status,
        type: answer?.type,
        title: answer?.title ?? `HTTP ${response.status}`,
        detail: answer?.detail ?? `${address} did not answer as an Aglow server does. Is "url" right?`,
        retryAfterSeconds: Number(response.headers.get('Retry-After')) || undefined,
    });
}

/** The calls over HTTP, for one server and one caller. */
export const http = (options = {}) => callsOf({ ...options, addresses: new Addresses(options.url) });

/** The same for options that have their addresses already. */
export function callsOf(options) {
    if (options.user !== undefined)
        listOf(options.user);

    async function status(users, requested) {
        const list = listOf(users);
        const definition = definitionOf(requested);
        const records = new Map();
        for (let at = 0; at < list.length; at += BATCH) {
            const batch = list.slice(at, at + BATCH);
            const answers = await post(options, '/status/batch', { user_ids: batch }, { query: { definition } });
            batch.forEach((user, i) => records.set(user, answers[i]));
        }

        return records;
    }

    // uses the same call, because an ID such as "users" or ".." has another meaning in a path
    const statusOf = async (user, requested) => (await status([user], requested)).get(user);

    async function heartbeat(users, { active } = {}) {
        if ((users ?? options.user) === undefined && !options.token)
            throw new TypeError('Whose heartbeat? Give "user" or "token" in the options, or users here.');
        const who = users === undefined ? { user_id: options.user, device: deviceOf(options.device) } : { user_ids: listOf(users) };
        return post(options, '/heartbeat', { ...who, active });
    }

    return { status, statusOf, heartbeat };
}
