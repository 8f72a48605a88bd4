using Aglow.Model;

namespace Aglow;

/// <summary>Presence together with the store that was opened for it: what an application's host opens and closes. On one machine <see cref="EmbeddedPresence"/>.</summary>
public interface IOpenPresence : IAsyncDisposable
{
    /// <summary>The service, started.</summary>
    PresenceService Presence { get; }

    /// <summary>Where the words are, for the line that says that the server is ready.</summary>
    string Where { get; }
}
