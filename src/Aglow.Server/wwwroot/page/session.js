// The credential of this page, if the server takes tokens. It is only in this module's memory, so a reloaded page asks again.
const byId = (id) => document.getElementById(id);

let credential;
let signingIn;
let isArriveHidden;
const listeners = [];

/** The token or key; undefined if the server asked for none. */
export const token = () => credential;

/** The headers that carry the credential. */
export const headers = () => (credential === undefined ? {} : { Authorization: `Bearer ${credential}` });

/** Forgets the token or key. */
export const signOut = () => (credential = undefined);

/** Registers a callback for sign-ins. It gets the token's user; undefined for a backend's key. */
export const onSignedIn = (callback) => listeners.push(callback);

/** Asks for a credential, and says why, once for all calls that wait. Resolves when the server accepts it. */
export function signIn(why) {
    signingIn ??= new Promise((resolve) => {
        const form = byId('sign-in');
        isArriveHidden = byId('arrive').hidden;
        byId('arrive').hidden = true;
        form.hidden = false;
        byId('sign-in-problem').hidden = true;
        byId('token').focus();
        form.addEventListener('submit', async function submitted(submit) {
            submit.preventDefault();
            const refusal = await tryOut(byId('token').value.trim());
            byId('sign-in-problem').textContent = refusal ?? '';
            byId('sign-in-problem').hidden = refusal === undefined;
            if (refusal !== undefined)
                return;
            form.removeEventListener('submit', submitted);
            byId('token').value = '';
            form.hidden = true;
            byId('arrive').hidden = isArriveHidden;
            signingIn = undefined;
            resolve();
            listeners.forEach((callback) => callback(subjectOf(credential)));
        });
    });
    // also if another call opened the form before the reason was known
    if (why !== undefined) {
        byId('sign-in-problem').textContent = why;
        byId('sign-in-problem').hidden = false;
        isArriveHidden &&= byId('arrive').hidden;
        byId('arrive').hidden = true;
    }

    return signingIn;
}

// Why the server refuses it; undefined if it accepts it.
async function tryOut(pasted) {
    if (!/^[\x21-\x7e]+$/.test(pasted))
        return 'Paste a token or a key: letters, digits and signs without spaces.';
    const answer = await fetch('/online/count', { headers: { Authorization: `Bearer ${pasted}` } }).catch(() => undefined);
    if (!answer?.ok)
        return answer ? (await answer.json().catch(() => ({}))).detail
            ?? `The server answered ${answer.status}.` : 'The server does not answer. Try again when it is back.';
    credential = pasted;
    return undefined;
}

// The user in a token; undefined for a key. The server has checked it.
function subjectOf(checked) {
    try {
        const bytes = Uint8Array.from(atob(checked.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')), (each) => each.charCodeAt(0));
        return JSON.parse(new TextDecoder().decode(bytes)).sub;
    } catch {
        return undefined;
    }
}
