namespace Aglow.Changes;

/// <summary>
/// Stores small JSON documents of the feed's consumers by key: webhooks and their places, and places of an application's own handlers.
/// </summary>
/// <remarks>Threading: any thread. A write is durable when it completes.</remarks>
public interface IConsumerStore : IAsyncDisposable
{
    /// <summary>The documents whose keys have this prefix, by key.</summary>
    ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix);

    /// <summary>Writes or replaces a document; null removes it.</summary>
    ValueTask WriteAsync(string key, string? json);

    /// <summary>
    /// Replaces a document if it is still the one that its writer read. Null stands for no document: none before, or none afterwards.
    /// Returns false if the document has changed.
    /// </summary>
    ValueTask<bool> ReplaceAsync(string key, string? before, string? json);
}
