// A person's account: changes the user name and the display name, and signs out everywhere.
import { announce, attempt } from './announcer.js';
import * as directory from './directory.js';
import { signOut } from './session.js';
import { nameOf } from './words.js';

const byId = (id) => document.getElementById(id);

export class Account {
    #user; // { user_id, user_name, display_name }
    #onRenamed;
    #onSignedOut;

    /** `onRenamed(user)` is called with the new names, `onSignedOut(user)` when every session of this person has ended. */
    constructor({ onRenamed, onSignedOut }) {
        this.#onRenamed = onRenamed;
        this.#onSignedOut = onSignedOut;
        byId('rename').addEventListener('submit', (submit) => {
            submit.preventDefault();
            attempt(byId('account-problem'), () => this.#rename());
        });
        byId('sign-out').addEventListener('click', () => attempt(byId('account-problem'), () => this.#signOut()));
    }

    /** Sets the user of this tab; undefined if there is none. */
    setUser(user) {
        this.#user = user;
        byId('account').open = false;
        byId('account-problem').hidden = true;
        this.#fill();
    }

    #fill() {
        byId('user-name').value = this.#user?.user_name ?? '';
        byId('display-name').value = this.#user?.display_name ?? '';
    }

    // An empty field removes the name.
    async #rename() {
        const [user_name, display_name] = ['user-name', 'display-name'].map((id) => byId(id).value.trim() || null);
        const user = await directory.rename(this.#user.user_id, { user_name, display_name });
        this.#user = user;
        this.#fill();
        this.#onRenamed(user);
        announce(`You are called ${nameOf(user)}`);
    }

    async #signOut() {
        const user = this.#user;
        await directory.revoke(user.user_id);
        signOut();
        this.#onSignedOut(user);
    }
}
