using Microsoft.Data.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// Receives the words that the <see cref="Journal"/> writes, and writes its own rows in the same transaction. So both are on disk, or
/// neither is.
/// </summary>
/// <remarks>Threading: the journal's writer calls every member, and so does the loading of the journal before the writer starts.</remarks>
internal abstract class JournalReader : IDisposable
{
    /// <summary>Called once, after the words are loaded and before this start is noted in the file.</summary>
    public abstract void Start(PresenceFile file, Recovery recovery);

    /// <summary>Receives words of the pulse plane that are part of the current transaction.</summary>
    public abstract void ReadWords(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, Moment at);

    /// <summary>
    /// Receives an image of a page of the pulse plane in the current transaction. After a crash its words count as journalled.
    /// </summary>
    public abstract void ReadImage(int page, ReadOnlySpan<uint> words, Moment at);

    /// <summary>Writes the reader's own rows. Called at the end of every transaction.</summary>
    public abstract void Write(SqliteConnection connection);

    /// <summary>Called when the transaction is on disk.</summary>
    public abstract void Committed();

    /// <summary>Called when the transaction was rolled back.</summary>
    public abstract void RolledBack();

    /// <summary>Called before the file is closed.</summary>
    public abstract void Dispose();
}
