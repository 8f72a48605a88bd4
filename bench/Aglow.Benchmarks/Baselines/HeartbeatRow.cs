namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// (b) A <c>last_heartbeat</c> row per user: one upsert a heartbeat, and a row younger than the lease is online. Right, and one transaction
/// for each of the five hundred thousand heartbeats a second that five million people send.
/// </summary>
internal sealed class HeartbeatRow(SqlTable table, TimeSpan lease) : SqlDesign(table)
{
    public static readonly SqlSchema Schema = new("last_heartbeat", "BIGINT");

    public override string Name => $"last_heartbeat row, {Table.Database}";

    protected override long Online => Now;

    // last seen is then the end of the lease, because nothing better is known
    public override async ValueTask LeaveAsync(uint user) => await Table.UpsertAsync(user, Now - (long)lease.TotalSeconds - 1);

    protected override Seen Judge(long value) => new(Now - value <= lease.TotalSeconds, value);
}

/// <summary>
/// (c) The same with a job that deletes old rows. Only online users have a row, and the job learns who went offline. The index that the job
/// needs is written at every heartbeat; <i>last seen</i> goes with the row.
/// </summary>
internal sealed class ExpiringRow(SqlTable table, TimeSpan lease) : SqlDesign(table)
{
    public static readonly SqlSchema Schema = new("expiring_heartbeat", "BIGINT", IsIndexed: true);

    public override string Name => $"last_heartbeat row and expiry job, {Table.Database}";

    protected override long Online => Now;

    public override async ValueTask LeaveAsync(uint user) => await Table.UpsertAsync(user, 0);

    /// <summary>The job: deletes users over the lease, and returns them. One process runs it from time to time.</summary>
    public Task<List<uint>> ExpireAsync() => Table.DeleteBelowAsync(Now - (long)lease.TotalSeconds);

    protected override Seen Judge(long value) => new(Now - value <= lease.TotalSeconds, value);
}
