namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// (a) A boolean row per user: set at login, cleared at logout. This is the obvious first design. A crashed client never logs out, so its
/// user stays online for ever.
/// </summary>
internal sealed class BooleanRow(SqlTable table) : SqlDesign(table)
{
    public static readonly SqlSchema Schema = new("is_online", "SMALLINT");

    public override string Name => $"boolean row, {Table.Database}";

    protected override long Online => 1;

    public override async ValueTask LeaveAsync(uint user) => await Table.UpsertAsync(user, 0);

    protected override Seen Judge(long value) => new(value == 1, 0);
}
