namespace Aglow.Changes;

/// <summary>
/// What consumers of the feed keep: webhooks and their places, and the places of an application's own handlers. Small JSON documents by
/// key.
/// </summary>
/// <remarks>Threading: any thread. A write is durable when it completes.</remarks>
public interface IConsumerStore : IAsyncDisposable
{
    /// <summary>The documents whose keys begin so, by key.</summary>
    ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix);

    /// <summary>Writes a document over an earlier one; null removes it.</summary>
    ValueTask WriteAsync(string key, string? json);

    /// <summary>Writes a document where the one before is still what its writer has read; null: there was none, or it is removed. False:
    /// it is another.</summary>
    ValueTask<bool> ReplaceAsync(string key, string? before, string? json);
}
