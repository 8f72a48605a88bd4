'use client';

import { useEffect, useState } from 'react';
import { connect } from '@aglow/client';
import { PresenceProvider } from '@aglow/client/react';

/** One connection for the person who is signed in. In a real app it goes around the children of the layout. */
export function Presence({ url, user, children }) {
    const [connection, setConnection] = useState(null);
    useEffect(() => {
        if (!user)
            return;
        const made = connect({ url, user });
        setConnection(made);
        return () => {
            made.close();
            setConnection(null);
        };
    }, [url, user]);
    return <PresenceProvider connection={connection}>{children}</PresenceProvider>;
}
