using System.Collections.Frozen;

namespace Aglow.Model;

/// <summary>The definitions an operator declared, with <c>chat</c>; fixed at start.</summary>
public sealed class Definitions
{
    private readonly FrozenDictionary<string, Definition> _byName;

    /// <summary>Makes them from options that are valid.</summary>
    public Definitions(AglowOptions options)
    {
        Default = Make(Definition.DefaultName, options.Lease, activity: null, endedByLeave: true);
        All =
        [
            Default,
            .. options.Definitions.Select(d => Make(
                d.Key,
                (uint)(d.Value.PulseSeconds ?? options.LeaseSeconds),
                (uint?)d.Value.ActivitySeconds,
                d.Value.EndedByLeave)),
        ];
        _byName = All.ToFrozenDictionary(static d => d.Name, StringComparer.Ordinal);

        Definition Make(string name, uint pulse, uint? activity, bool endedByLeave) => new(name, pulse, activity, endedByLeave)
        {
            DeviceLeftSeconds = Math.Min(pulse, (uint)options.HeartbeatSeconds + Definition.DeviceLeftMarginSeconds),
        };
    }

    /// <summary><c>chat</c>: a heartbeat within the lease, ended by a goodbye.</summary>
    public Definition Default { get; }

    /// <summary>All of them, the default first.</summary>
    public IReadOnlyList<Definition> All { get; }

    /// <summary>The definition of this name (the default for null), or null where there is none.</summary>
    public Definition? Find(string? name) => name is null ? Default : _byName.GetValueOrDefault(name);
}
