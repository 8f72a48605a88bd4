namespace Aglow.Swarm.Devices;

/// <summary>The name of a person's device.</summary>
internal sealed record DeviceName(int Number)
{
    /// <summary>The kind: each device of a person has its own.</summary>
    public string Kind => Deeds.KindNames[Number];

    /// <summary>The member of a body that names it.</summary>
    public string Json => $",\"device\":{{\"id\":\"device-{Number}\",\"kind\":\"{Kind}\"}}";

    /// <summary>The parameters of a socket's address that name it.</summary>
    public string Query => $"&device_id=device-{Number}&device_kind={Kind}";
}
