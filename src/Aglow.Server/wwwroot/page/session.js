// Who this page calls as, where the server takes tokens. What was pasted is in this module's memory and nowhere else: a page that is loaded again asks again.
const byId = (id) => document.getElementById(id);

let credential;
let signingIn;
const listeners = [];

/** The token or key; undefined where none was asked for. */
export const token = () => credential;

/** What a call says who it is with. */
export const headers = () => (credential === undefined ? {} : { Authorization: `Bearer ${credential}` });

/** Forgets the token or key. */
export const signOut = () => (credential = undefined);

/** Called with the user that a token is of (undefined: of a backend's key) when somebody has signed in. */
export const onSignedIn = (callback) => listeners.push(callback);

/** The server wants to know who calls: asks, once for all calls that wait, and resolves when it was told something that it takes. */
export function signIn() {
    signingIn ??= new Promise((resolve) => {
        const form = byId('sign-in');
        const arriving = byId('arrive').hidden;
        byId('arrive').hidden = true;
        form.hidden = false;
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
            byId('arrive').hidden = arriving;
            signingIn = undefined;
            resolve();
            listeners.forEach((callback) => callback(subjectOf(credential)));
        });
    });
    return signingIn;
}

// Why it is not taken; undefined where it is.
async function tryOut(pasted) {
    if (!/^[\x21-\x7e]+$/.test(pasted))
        return 'Paste a token or a key: letters, digits and signs without spaces.';
    const answer = await fetch('/online/count', { headers: { Authorization: `Bearer ${pasted}` } }).catch(() => undefined);
    if (!answer?.ok)
        return answer ? (await answer.json().catch(() => ({}))).detail ?? `The server answered ${answer.status}.` : 'The server does not answer. Try again when it is back.';
    credential = pasted;
    return undefined;
}

// The user in a token; of a key there is none. The server has checked it.
function subjectOf(checked) {
    try {
        const bytes = Uint8Array.from(atob(checked.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')), (each) => each.charCodeAt(0));
        return JSON.parse(new TextDecoder().decode(bytes)).sub;
    } catch {
        return undefined;
    }
}
