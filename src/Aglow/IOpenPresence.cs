namespace Aglow;

/// <summary>
/// Presence with its open store. The host of an application opens and closes it. On a single machine: <see cref="EmbeddedPresence"/>.
/// </summary>
public interface IOpenPresence : IAsyncDisposable
{
    /// <summary>The started service.</summary>
    PresenceService Presence { get; }

    /// <summary>Where the words are, for the log line of a ready server.</summary>
    string Where { get; }
}
