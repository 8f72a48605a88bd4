using Aglow.Durable;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Changes;

/// <summary>The consumers' documents of one machine: <c>consumers.db</c> in the data folder, created at the first write.</summary>
/// <remarks>
/// The file holds the secrets of webhooks, so only the server's own account may read it. One connection runs one command at a time, because
/// documents are written at most once a second.
/// </remarks>
internal sealed class SqliteConsumerStore(string folder, FolderWatch? watch) : IConsumerStore
{
    public const string FileName = DataFolder.ConsumersName;

    private const int ApplicationId = 0x4147636F; // "AGco"
    private const int SchemaVersion = 2;
    private const int SealedFrom = 2;
    private const string Schema = "CREATE TABLE document (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID";

    private readonly SemaphoreSlim _turn = new(1);
    private SqliteConnection? _connection;
    private SqliteFile? _file;

    private string FilePath => Path.Combine(folder, FileName);

    public async ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        using var turn = await _turn.EnterAsync();
        try
        {
            if (_connection is null && !File.Exists(FilePath))
                return found;
            using var rows = new SqliteStatement(Open(), "SELECT key, json FROM document WHERE substr(key, 1, ?) = ? ORDER BY key");
            rows.Bind(1, prefix.Length).Bind(2, prefix);
            while (rows.Step())
                found[rows.Text(0)!] = rows.Text(1)!;
            return found;
        }
        catch (SqliteException e)
        {
            throw new Storage.StoreUnavailableException($"{FilePath} cannot be read: {e.Message}.", e);
        }
    }

    public async ValueTask WriteAsync(string key, string? json) => await WriteAsync(key, static _ => true, json);

    public ValueTask<bool> ReplaceAsync(string key, string? before, string? json) =>
        WriteAsync(key, now => string.Equals(now, before, StringComparison.Ordinal), json);

    public async ValueTask DisposeAsync()
    {
        await _turn.WaitAsync();
        watch?.Remove(FilePath);
        if (_connection is not null)
        {
            _file!.Seal.Finish(_connection);
            await _connection.DisposeAsync();
            _file.Dispose();
        }

        _turn.Dispose();
    }

    private async ValueTask<bool> WriteAsync(string key, Func<string?, bool> mayWrite, string? json)
    {
        using var turn = await _turn.EnterAsync();
        try
        {
            watch?.EnsureSame();
            var connection = Open();
            _file!.Seal.EnsureSound();
            using var read = new SqliteStatement(connection, "SELECT json FROM document WHERE key = ?");
            read.Bind(1, key);
            var before = read.Step() ? read.Text(0) : null;
            read.Reset();
            if (!mayWrite(before))
                return false;
            using var write = new SqliteStatement(
                connection, json is null ? "DELETE FROM document WHERE key = ?" : "REPLACE INTO document (key, json) VALUES (?, ?)");
            write.Bind(1, key);
            if (json is not null)
                write.Bind(2, json);
            write.Run();
            _file.Seal.Committed(connection);
            watch?.EnsureSame();
            return true;
        }
        catch (SqliteException e)
        {
            throw new Storage.StoreUnavailableException($"{FilePath} cannot be written: {e.Message}.", e);
        }
    }

    /// <summary>Opens and checks the file, or creates it.</summary>
    internal static SqliteFile OpenFile(string folder) =>
        SqliteFile.Open(folder, FileName, ApplicationId, SchemaVersion, Schema, SealedFrom);

    private SqliteConnection Open()
    {
        if (_connection is not null)
            return _connection;
        _file ??= OpenFile(folder);
        _file.Seal.Watch = watch;
        _connection = _file.ConnectToWrite(cacheKibibytes: 256);
        // creates the WAL, which is watched too
        SqliteFile.Execute(_connection, "SELECT 1 FROM document LIMIT 1");
        watch?.Add(FilePath);
        return _connection;
    }
}
