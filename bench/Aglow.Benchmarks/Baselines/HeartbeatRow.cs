namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// (b) A <c>last_heartbeat</c> row per user: each heartbeat is an upsert, and a row younger than the lease means online. The answer is
/// right. But five million users cause five hundred thousand transactions a second.
/// </summary>
internal sealed class HeartbeatRow(SqlTable table, TimeSpan lease) : SqlDesign(table)
{
    public static readonly SqlSchema Schema = new("last_heartbeat", "BIGINT");

    public override string Name => $"last_heartbeat row, {Table.Database}";

    protected override long Online => Now;

    // last seen is then the end of the lease, because no better value is known
    public override async ValueTask LeaveAsync(uint user) => await Table.UpsertAsync(user, Now - (long)lease.TotalSeconds - 1);

    protected override Seen Judge(long value) => new(Now - value <= lease.TotalSeconds, value);
}

/// <summary>
/// (c) The same with a job that deletes old rows. Only online users have a row, and the job finds the users who went offline. Every
/// heartbeat writes the index that the job needs, and <i>last seen</i> is lost with the row.
/// </summary>
internal sealed class ExpiringRow(SqlTable table, TimeSpan lease) : SqlDesign(table)
{
    public static readonly SqlSchema Schema = new("expiring_heartbeat", "BIGINT", IsIndexed: true);

    public override string Name => $"last_heartbeat row and expiry job, {Table.Database}";

    protected override long Online => Now;

    public override async ValueTask LeaveAsync(uint user) => await Table.UpsertAsync(user, 0);

    /// <summary>The job: deletes users whose lease has expired, and returns them. One process runs it periodically.</summary>
    public Task<List<uint>> ExpireAsync() => Table.DeleteBelowAsync(Now - (long)lease.TotalSeconds);

    protected override Seen Judge(long value) => new(Now - value <= lease.TotalSeconds, value);
}
