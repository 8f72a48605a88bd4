using System.Collections.Frozen;

namespace Aglow.Model;

/// <summary>The definitions that an operator declared, <c>chat</c>, and one for each kind of device. Fixed at start.</summary>
public sealed class Definitions
{
    /// <summary>The most definitions: declared ones, <c>chat</c>, and one for each kind.</summary>
    public const int Most = AglowOptions.MaxDefinitions + 1 + Planes.Count - (int)Plane.Desktop;

    private readonly FrozenDictionary<string, Definition> _byName;

    /// <summary>Creates the definitions from valid options.</summary>
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
            .. Enum.GetValues<DeviceKind>()
                .Select(kind => Make(Device.NameOf(kind), options.Lease, activity: null, endedByLeave: true) with { Kind = kind }),
        ];
        _byName = All.ToFrozenDictionary(static d => d.Name, StringComparer.Ordinal);

        Definition Make(string name, uint pulse, uint? activity, bool endedByLeave) => new(name, pulse, activity, endedByLeave)
        {
            DeviceLeftSeconds = Math.Min(pulse, (uint)options.LongestIntervalSeconds + Definition.DeviceLeftMarginSeconds),
        };
    }

    /// <summary><c>chat</c>: a heartbeat within the lease, ended by a leave.</summary>
    public Definition Default { get; }

    /// <summary>All definitions: the default, declared ones, and those of device kinds.</summary>
    public IReadOnlyList<Definition> All { get; }

    /// <summary>The definition with this name (the default for null), or null if there is none.</summary>
    public Definition? Find(string? name) => name is null ? Default : _byName.GetValueOrDefault(name);
}
