using Aglow.Model;
using Microsoft.Data.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// Reads along as the <see cref="Journal"/> writes words, and writes what it makes of them in the same transactions: both are on disk, or
/// neither is.
/// </summary>
/// <remarks>Threading: the journal's writer calls every member, and whoever loads the journal before the writer starts.</remarks>
internal abstract class JournalReader : IDisposable
{
    /// <summary>Called once, after the words are loaded and before this start is noted in the file.</summary>
    public abstract void Start(PresenceFile file, Recovery recovery);

    /// <summary>These words of the pulse plane are part of the transaction under way.</summary>
    public abstract void ReadWords(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, Moment at);

    /// <summary>An image of a page of the pulse plane is part of the transaction under way. After a crash its words count as if they were
    /// journalled.</summary>
    public abstract void ReadImage(int page, ReadOnlySpan<uint> words, Moment at);

    /// <summary>Writes what was made of what was read. Called at the end of every transaction.</summary>
    public abstract void Write(SqliteConnection connection);

    /// <summary>The transaction is on disk.</summary>
    public abstract void Committed();

    /// <summary>Nothing of the transaction is left.</summary>
    public abstract void RolledBack();

    /// <summary>The file is about to be closed.</summary>
    public abstract void Dispose();
}
