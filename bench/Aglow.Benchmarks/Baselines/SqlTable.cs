using System.Data.Common;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// A table with one number per user, in the SQL of one database: all that the SQL designs need. See <see cref="SqliteTable"/>,
/// <see cref="PostgresTable"/> and <see cref="MariaTable"/>.
/// </summary>
/// <param name="Name">The name of the table and of its column.</param>
/// <param name="Type">The type of the column.</param>
/// <param name="IsIndexed">Whether the column has an index.</param>
internal sealed record SqlSchema(string Name, string Type, bool IsIndexed = false);

/// <inheritdoc cref="SqlSchema"/>
/// <param name="schema">The table.</param>
/// <param name="database">The name of the database.</param>
/// <param name="cpuSeconds">Reads the CPU seconds of the database.</param>
internal abstract class SqlTable(SqlSchema schema, string database, Func<double> cpuSeconds) : IAsyncDisposable
{
    public string Database => database;

    /// <summary>The number of parallel callers.</summary>
    public virtual int Callers => 8;

    protected string Name => schema.Name;

    /// <summary>CPU seconds of the database.</summary>
    public double CpuSeconds() => cpuSeconds();

    /// <summary>Writes one row.</summary>
    public abstract Task UpsertAsync(uint user, long value);

    /// <summary>Writes many rows in one statement or transaction.</summary>
    public abstract Task UpsertAsync(ReadOnlyMemory<uint> users, long value);

    /// <summary>Reads the rows of these users, in any order.</summary>
    public abstract Task SelectAsync(ReadOnlyMemory<uint> users, Action<uint, long> row);

    /// <summary>Deletes the rows whose value is below this one; returns their users.</summary>
    public async Task<List<uint>> DeleteBelowAsync(long value)
    {
        var deleted = new List<uint>();
        await using var delete = Command($"DELETE FROM {Name} WHERE value < {value} RETURNING user_id, value");
        await ReadAsync(delete, (user, _) => deleted.Add(user));
        return deleted;
    }

    /// <summary>Writes a row for each number below <paramref name="users"/> into the empty table.</summary>
    public abstract Task FillAsync(uint users, long value);

    /// <summary>The number of rows.</summary>
    public Task<long> CountAsync() => NumberAsync($"SELECT count(*) FROM {Name}");

    /// <summary>Bytes of the table and its indexes, on disk.</summary>
    public abstract Task<long> BytesAsync();

    public abstract ValueTask DisposeAsync();

    /// <summary>Creates a statement.</summary>
    protected abstract DbCommand Command(string sql);

    protected async Task ExecuteAsync(string sql)
    {
        await using var command = Command(sql);
        command.CommandTimeout = 600;
        await command.ExecuteNonQueryAsync();
    }

    protected async Task<long> NumberAsync(string sql)
    {
        await using var command = Command(sql);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>Reads rows of a user and a value.</summary>
    protected static async Task ReadAsync(DbCommand command, Action<uint, long> row)
    {
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            row((uint)reader.GetInt64(0), reader.GetInt64(1));
    }
}

/// <summary>A design in SQL. Derived classes define the values that it writes, and which values mean online.</summary>
internal abstract class SqlDesign(SqlTable table) : PresenceDesign
{
    public override int Callers => Table.Callers;

    public override string BytesAre => "disk";

    /// <summary>The table, which is closed with the design.</summary>
    protected SqlTable Table => table;

    /// <summary>The value that is written for a user who is online.</summary>
    protected abstract long Online { get; }

    public override double CpuSeconds() => Table.CpuSeconds();

    public override Task FillAsync(uint users) => Table.FillAsync(users, Online);

    public override async ValueTask HeartbeatAsync(uint user) => await Table.UpsertAsync(user, Online);

    public override async ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users) => await Table.UpsertAsync(users, Online);

    public override async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen)
    {
        var found = new Dictionary<uint, long>(users.Length);
        await Table.SelectAsync(users, found.Add);
        for (var i = 0; i < users.Length; i++)
            seen.Span[i] = found.TryGetValue(users.Span[i], out var value) ? Judge(value) : default;
    }

    public override Task<long> CountAsync() => Table.CountAsync();

    public override Task<long> BytesAsync() => Table.BytesAsync();

    public override ValueTask DisposeAsync() => Table.DisposeAsync();

    /// <summary>The status that a value means.</summary>
    protected abstract Seen Judge(long value);
}
