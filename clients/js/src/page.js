/**
 * The life of a page: when it is shown, hidden, kept by the browser, or has a network again, and when the person does something.
 * React Native has an AppState in its place; Node and workers have neither.
 */

const PERSON = ['pointerdown', 'pointermove', 'keydown'];

/**
 * Calls `acted` when the person did something, `resumed` when the page may have been without time or network, and `paused` when the browser
 * keeps the page without running it.
 * Returns a function that ends it.
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
        // a browser answers pings for a page that it has frozen or kept for the back button, so its user would stay online as long as it is
        // kept
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
