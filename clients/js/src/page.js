/**
 * The life of a page: when it is shown, hidden, frozen by the browser, or online again, and when the person does something. React Native
 * has an AppState instead; Node and workers have neither.
 */

const PERSON = ['pointerdown', 'pointermove', 'keydown'];

/**
 * Calls `acted` when the person did something, and `resumed` when the page may have been without time or network. Calls `paused` when the
 * browser freezes the page. Returns a function that ends it.
 */
export function watchPage({ appState, acted, resumed, paused }) {
    const ends = [];
    const on = (target, kinds, callback) => {
        if (!target?.addEventListener)
            return;
        for (const kind of kinds) {
            target.addEventListener(kind, callback, { passive: true, capture: true });
            ends.push(() => target.removeEventListener(kind, callback, { capture: true }));
        }
    };
    const shown = () => {
        resumed();
        acted();
    };
    const page = globalThis.document;
    if (page) {
        on(page, PERSON, acted);
        on(page, ['visibilitychange'], () => page.visibilityState === 'visible' && shown());
        // A browser answers pings for a page that it has frozen or kept for the back button. Without this, its user would stay online as
        // long as the page is kept.
        on(page, ['freeze'], paused);
        on(page, ['resume'], resumed);
        on(globalThis, ['pagehide'], paused);
        on(globalThis, ['pageshow', 'online', 'offline'], resumed);
    }

    const subscription = appState?.addEventListener('change', (state) => state === 'active' && shown());
    if (subscription)
        ends.push(() => subscription.remove());
    return () => ends.forEach((end) => end());
}
