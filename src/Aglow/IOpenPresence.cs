using Aglow.Model;

namespace Aglow;

/// <summary>
/// Presence with the store that was opened for it. The host of an application opens and closes it. On one machine:
/// <see cref="EmbeddedPresence"/>.
/// </summary>
public interface IOpenPresence : IAsyncDisposable
{
    /// <summary>The started service.</summary>
    PresenceService Presence { get; }

    /// <summary>Where the words are, for the log line of a ready server.</summary>
    string Where { get; }
}
