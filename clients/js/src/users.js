/**
 * Checks of user IDs. The client checks them before it sends them, because the server rejects a whole list for one wrong user, and its
 * error has no stack trace.
 */

const MAX_BYTES = 255;

/** The bytes of a text in UTF-8; NaN for half a surrogate pair. React Native has no TextEncoder. */
export function bytesOf(text) {
    try {
        return encodeURIComponent(text).replace(/%../g, '.').length;
    } catch {
        return NaN;
    }
}

/** Any iterable of users, or one user, as a list without duplicates, in the given order. Throws TypeError for a wrong user ID. */
export function listOf(users) {
    const list = typeof users === 'object' && users?.[Symbol.iterator] ? [...new Set(users)] : [users];
    for (const user of list) {
        const mistake = mistakeIn(user);
        if (mistake)
            throw new TypeError(mistake);
    }

    return list;
}

/** What is wrong with a user ID; undefined if it is valid. */
export function mistakeIn(user) {
    if (typeof user === 'number') {
        if (!Number.isSafeInteger(user) || user < 0)
            return `${user} is not a user: a number is an integer from 0 to ${Number.MAX_SAFE_INTEGER}. Give a longer one as text.`;
    } else if (typeof user !== 'string') {
        return `A user is a number or text, not ${user === null ? 'null' : typeof user}. Give a bigint as text.`;
    } else if (user === '' || bytesOf(user) > MAX_BYTES) {
        return `${user ? `"${user.slice(0, 20)}…"` : 'An empty text'} is not a user: text is 1 to ${MAX_BYTES} bytes.`;
    } else if (/[\0-\x1f\x7f-\x9f]/.test(user) || Number.isNaN(bytesOf(user))) {
        return `${JSON.stringify(user)} is not a user: text holds no control characters and no halves of surrogate pairs.`;
    }
}

/** The name of a definition for messages. The default is left out, whether it was named or not. */
export function definitionOf({ definition } = {}) {
    if (definition !== undefined && (typeof definition !== 'string' || definition === ''))
        throw new TypeError('"definition" is the name of a definition, as text; leave it out for the default.');
    return definition === 'chat' ? undefined : definition;
}
