/**
 * When the person at this browser does something. Where there is no page (Node, a worker), nobody does.
 */

const PERSON = ['pointerdown', 'pointermove', 'keydown'];

/** Calls `acted` for pointer, keys and the page being shown, `shown` for the last and for the network being back. Returns a function that ends it. */
export function watchPerson(acted, shown) {
    const page = globalThis.document;
    if (!page)
        return () => {};
    const passive = { passive: true, capture: true };
    const onVisibility = () => {
        if (page.visibilityState !== 'visible')
            return;
        shown();
        acted();
    };
    for (const kind of PERSON)
        page.addEventListener(kind, acted, passive);
    page.addEventListener('visibilitychange', onVisibility);
    globalThis.addEventListener?.('online', shown);
    return () => {
        for (const kind of PERSON)
            page.removeEventListener(kind, acted, passive);
        page.removeEventListener('visibilitychange', onVisibility);
        globalThis.removeEventListener?.('online', shown);
    };
}
