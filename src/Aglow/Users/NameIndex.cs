using System.Buffers;
using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// The index of all names, for uniqueness and for search: <c>names.db</c>, kept up in the background.
/// </summary>
/// <remarks>
/// Why apart from <c>users.db</c>: an index over random keys costs a page a key (10,000 new keys touch 10,000 leaves: 40 MB through
/// the WAL and 40 MB again at its checkpoint), and a hundred thousand durable registrations a second must not pay that. So
/// registering only appends to <c>users.db</c>; the names wait in <see cref="NameTail"/>, where they are found as well, and a
/// round sorts some tenth of what is indexed and merges it in, so that a page is written once for many keys. A file of its
/// own has a write lock of its own: explicit facts never wait for a round. Nothing here is a fact: without the file, it is made anew
/// from <c>users.db</c> at the next start.
/// <code>
/// state      whose index this is; the highest number it holds (in the same transaction as what it holds)
/// hash       id = high half of the name's SipHash, low half the number: 15 bytes a user, and the row decides among equals
/// beginning  (folded name or display name, number): what begins with a query, in order; and of how many bytes the name begins
///            as this display name does (-1 for the name itself): a query as short finds the name
/// gram       FTS5 trigrams with positions: what holds a query; contentless, 80 bytes a user
/// dropped    deleted users who are out of the index, until users.db has forgotten their names too
/// </code>
/// One background loop writes; any number of read connections read.
/// </remarks>
internal sealed class NameIndex : IDisposable
{
    /// <summary>More users than this may not wait: registering waits for a round then, see <see cref="RoomAsync"/>.</summary>
    public const int MaxWaiting = 2 << 20;

    // merging fewer than this at a time, while more are coming, writes pages for a handful of keys each; and who waits for room
    // waits for a round
    private const int MinRound = 1 << 16;
    private const int MaxRound = 1 << 19;

    private const int ApplicationId = 0x41476E6D; // "AGnm"
    private const int SchemaVersion = 1;
    private const string Schema = """
        CREATE TABLE state (owner TEXT NOT NULL, indexed_to INTEGER NOT NULL);
        CREATE TABLE hash (id INTEGER PRIMARY KEY);
        CREATE TABLE beginning (folded TEXT, number INTEGER, shared INTEGER NOT NULL, PRIMARY KEY (folded, number)) WITHOUT ROWID;
        CREATE VIRTUAL TABLE gram USING fts5(text, content = '', columnsize = 0, tokenize = 'trigram case_sensitive 1');
        INSERT INTO gram (gram, rank) VALUES ('hashsize', 16777216);
        CREATE TABLE dropped (number INTEGER PRIMARY KEY)
        """;

    private readonly SqliteFile _file;
    private readonly SqliteConnection _connection;
    private readonly SqliteConnection _users;
    private readonly SipHash _hash;
    private readonly AglowLog? _log;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _stopping = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly SemaphoreSlim _merging = new(1);
    private ITimer? _timer;
    private Task _loop = Task.CompletedTask;
    private TaskCompletionSource _roundDone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _deletions = true;
    private volatile bool _ticked;
    private uint _indexedTo;

    private NameIndex(SqliteFile file, SqliteFile users, SipHash hash, TimeProvider time, AglowLog? log)
    {
        _file = file;
        _hash = hash;
        _time = time;
        _log = log;
        _connection = file.ConnectToWrite(cacheKibibytes: 64 * 1024);
        _users = users.ConnectToRead(cacheKibibytes: 1024);
    }

    /// <summary>The names that wait.</summary>
    public NameTail Tail { get; } = new();

    /// <summary>Called with users that are out of the index: their names may be forgotten.</summary>
    public Func<IReadOnlyList<uint>, ValueTask> Forget { get; set; } = _ => ValueTask.CompletedTask;

    /// <summary>The key in table <c>hash</c>.</summary>
    public static long HashId(uint hash, uint number) => (long)(((ulong)hash << 32) | number);

    /// <summary>The half of the hash that the index keeps.</summary>
    public uint Hash(ReadOnlySpan<byte> name) => (uint)(_hash.Hash(name) >> 32);

    /// <summary>Opens or makes the index, and reads the names that wait; where they are many (a new index), merges them now.</summary>
    public static NameIndex Open(string folder, SqliteFile users, string owner, SipHash hash, uint nextNumber, TimeProvider time, AglowLog? log)
    {
        var file = SqliteFile.Open(folder, "names.db", ApplicationId, SchemaVersion, Schema);
        NameIndex? index = null;
        try
        {
            index = new NameIndex(file, users, hash, time, log);
            index.CheckOwner(owner, nextNumber);
            index.LoadTail();
            return index;
        }
        catch (Exception e)
        {
            index?.Dispose();
            if (e is SqliteException sqlite)
                throw DataFolder.Explain(file.Path, sqlite);
            throw;
        }
    }

    public SqliteConnection Connect(int cacheKibibytes) => _file.ConnectToRead(cacheKibibytes);

    /// <summary>Begins to merge in the background: when a tenth more waits, or a second after the last one came.</summary>
    public void Start()
    {
        _loop = Task.Run(LoopAsync);
        _timer = _time.CreateTimer(
            _ =>
            {
                _ticked = true;
                Wake();
            },
            null,
            TimeSpan.FromSeconds(1),
            TimeSpan.FromSeconds(1));
    }

    /// <summary>Says that users were added to the tail or, with <paramref name="deleted"/>, removed from the directory.</summary>
    public void Changed(bool deleted)
    {
        _deletions |= deleted;
        if (Tail.Count >= RoundSize)
            Wake();
    }

    /// <summary>Completes when there is room in the tail; throws where there is none within 30 s.</summary>
    public async ValueTask RoomAsync()
    {
        while (Tail.Count >= MaxWaiting)
        {
            var round = Volatile.Read(ref _roundDone).Task;
            if (Tail.Count < MaxWaiting)
                return;
            try
            {
                await round.WaitAsync(TimeSpan.FromSeconds(30), _time);
            }
            catch (TimeoutException e)
            {
                throw new StoreUnavailableException($"{MaxWaiting} names wait for {_file.Path}, and no more can.", e);
            }
        }
    }

    /// <summary>Merges what waits now. By the loop, and by tests.</summary>
    internal async Task MergeAsync()
    {
        await _merging.WaitAsync();
        try
        {
            var gone = await Task.Run(MergeRound);
            Interlocked.Exchange(ref _roundDone, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
            if (gone.Count > 0)
                await Forget(gone);
        }
        finally
        {
            _merging.Release();
        }
    }

    /// <summary>Ends the loop; a round under way is taken back and made again at the next start.</summary>
    public async Task StopAsync()
    {
        await _stopping.CancelAsync();
        if (_timer is not null)
            await _timer.DisposeAsync();
        Wake();
        await _loop;
    }

    public void Dispose()
    {
        _users.Dispose();
        _connection.Dispose();
        _timer?.Dispose();
        _wake.Dispose();
        _merging.Dispose();
        _stopping.Dispose();
    }

    private int RoundSize => Math.Clamp((int)((_indexedTo + 1 - UserId.FirstDirectoryNumber) / 10), MinRound, MaxRound);

    private void Wake()
    {
        if (_wake.CurrentCount > 0)
            return;
        try
        {
            _wake.Release();
        }
        catch (Exception e) when (e is SemaphoreFullException or ObjectDisposedException)
        {
            // somebody else just woke it, or it is over
        }
    }

    private async Task LoopAsync()
    {
        var before = 0;
        var ticks = 0;
        var failing = false;
        while (true)
        {
            await _wake.WaitAsync();
            if (_stopping.IsCancellationRequested)
                return;
            var count = Tail.Count;
            var due = count >= RoundSize;
            if (_ticked)
            {
                _ticked = false;
                ticks++;
                due |= _deletions || (count > 0 && (count == before || ticks >= 30));
                before = count;
            }

            if (!due)
                continue;
            try
            {
                ticks = 0;
                await MergeAsync();
                if (failing)
                    _log?.NamesIndexedAgain(_file.Path);
                failing = false;
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or StoreUnavailableException)
            {
                _deletions = true;
                if (!failing)
                    _log?.NamesNotIndexed(_file.Path, count, e.Message);
                failing = true;
            }
        }
    }

    private void CheckOwner(string owner, uint nextNumber)
    {
        using var state = new SqliteStatement(_connection, "SELECT owner, indexed_to FROM state");
        if (!state.Step())
        {
            using var insert = new SqliteStatement(_connection, "INSERT INTO state VALUES (?1, ?2)");
            insert.Bind(1, owner).Bind(2, UserId.FirstDirectoryNumber - 1).Run();
            _indexedTo = UserId.FirstDirectoryNumber - 1;
            return;
        }

        var foundOwner = state.Text(0);
        _indexedTo = (uint)state.Int64(1);
        state.Reset();
        if (foundOwner != owner || _indexedTo >= nextNumber)
            throw new DataFolderException($"{_file.Path} is the index of another users.db; move it away: it is made anew at the next start.");
    }

    private void LoadTail()
    {
        using var rows = new SqliteStatement(_users, "SELECT number, name, display_name FROM user WHERE number > ?1 ORDER BY number LIMIT ?2");
        var fields = new ArrayBufferWriter<byte>();
        var after = _indexedTo;
        while (true)
        {
            var count = 0;
            rows.Bind(1, after).Bind(2, MaxRound);
            while (rows.Step())
            {
                after = (uint)rows.Int64(0);
                FoldedText.FoldFields(rows.Text(1)!, rows.Text(2), fields);
                Tail.Append(after, Hash(rows.Blob(1)), fields.WrittenSpan);
                count++;
            }

            Tail.Publish();
            if (count < MaxRound)
                return;
            MergeRound();
        }
    }

    /// <summary>
    /// One transaction: drops the deleted, adds those who wait, or the first half million of them. Returns whose names users.db may forget.
    /// </summary>
    private List<uint> MergeRound()
    {
        _deletions = false;
        var started = _time.GetTimestamp();
        var before = Tail.Count;
        var views = Tail.Views();
        var users = 0;
        views = [.. views.TakeWhile(view => users < MaxRound && (users += view.Count) > 0)];
        var added = new NameRound(views, _indexedTo);
        SqliteFile.Execute(_connection, "BEGIN IMMEDIATE");
        try
        {
            var gone = DropDeleted();
            added.Insert(_connection, [.. gone], _stopping.Token);
            using (var state = new SqliteStatement(_connection, "UPDATE state SET indexed_to = ?1"))
                state.Bind(1, added.To).Run();
            SqliteFile.Execute(_connection, "COMMIT");
            _indexedTo = added.To;
            Tail.Drop(_indexedTo);
            _log?.NamesIndexed(_file.Path, Math.Max(0, before - Tail.Count), _time.GetElapsedTime(started).TotalSeconds);
            return gone;
        }
        catch
        {
            if (SQLitePCL.raw.sqlite3_get_autocommit(_connection.Handle) == 0)
                SqliteFile.Execute(_connection, "ROLLBACK");
            throw;
        }
    }

    /// <summary>
    /// Takes deleted users out whose names users.db still keeps for this. FTS5 takes the same text out once only, so those already
    /// out are remembered in <c>dropped</c> until users.db has forgotten them.
    /// </summary>
    private List<uint> DropDeleted()
    {
        using var indexed = new SqliteStatement(_users, "SELECT number, name, display_name FROM deleted WHERE name IS NOT NULL AND number <= ?1 LIMIT 10000");
        using var waiting = new SqliteStatement(_users, "SELECT number FROM deleted WHERE name IS NOT NULL AND number > ?1");
        using var dropped = new SqliteStatement(_connection, "SELECT number FROM dropped");
        using var addDropped = new SqliteStatement(_connection, "INSERT OR IGNORE INTO dropped VALUES (?1)");
        using var removeDropped = new SqliteStatement(_connection, "DELETE FROM dropped WHERE number = ?1");
        using var hash = new SqliteStatement(_connection, "DELETE FROM hash WHERE id = ?1");
        using var beginning = new SqliteStatement(_connection, "DELETE FROM beginning WHERE folded = ?1 AND number = ?2");
        using var gram = new SqliteStatement(_connection, "INSERT INTO gram (gram, rowid, text) VALUES ('delete', ?1, ?2)");

        var already = new HashSet<uint>();
        while (dropped.Step())
            already.Add((uint)dropped.Int64(0));

        var gone = new List<uint>();
        var fields = new ArrayBufferWriter<byte>();
        indexed.Bind(1, _indexedTo);
        while (indexed.Step())
        {
            var number = (uint)indexed.Int64(0);
            gone.Add(number);
            if (already.Remove(number))
                continue;
            FoldedText.FoldFields(indexed.Text(1)!, indexed.Text(2), fields);
            var text = fields.WrittenSpan[1..];
            hash.Bind(1, HashId(Hash(indexed.Blob(1)), number)).Run();
            foreach (var field in text.Split(FoldedText.Separator))
                beginning.BindText(1, text[field]).Bind(2, number).Run();
            gram.Bind(1, number).BindText(2, text).Run();
            addDropped.Bind(1, number).Run();
        }

        _deletions |= gone.Count == 10_000;
        waiting.Bind(1, _indexedTo);
        while (waiting.Step())
        {
            // never gets in
            var number = (uint)waiting.Int64(0);
            gone.Add(number);
            already.Remove(number);
            addDropped.Bind(1, number).Run();
        }

        foreach (var forgotten in already)
            removeDropped.Bind(1, forgotten).Run();
        return gone;
    }
}
