import { useEffect, useState } from 'react';
import { connect } from '@aglow/client';
import { PresenceProvider } from '@aglow/client/react';

const url = import.meta.env.VITE_AGLOW_URL ?? 'http://127.0.0.1:8080';

export function Presence({ user, children }) {
    const [connection, setConnection] = useState(null);
    useEffect(() => {
        if (!user)
            return;
        const made = connect({ url, user });      // the user is online from now on
        setConnection(made);
        return () => {
            made.close();
            setConnection(null);
        };
    }, [user]);
    return <PresenceProvider connection={connection}>{children}</PresenceProvider>;
}
