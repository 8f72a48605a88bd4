namespace Aglow.Install.Tests;

/// <summary>The systemd unit.</summary>
internal static class Unit
{
    public static readonly string Path = Published.Deploy("systemd", "aglow.service");

    private static readonly string[][] Lines =
    [
        .. File.ReadAllLines(Path)
            .Where(static line => line.Length > 0 && line[0] is not ('#' or '['))
            .Select(static line => line.Split('=', 2)),
    ];

    /// <summary>The values of a setting, in order.</summary>
    public static string[] All(string name) => [.. Lines.Where(line => line[0] == name).Select(static line => line[1])];

    public static string One(string name) => All(name).ShouldHaveSingleItem();

    /// <summary>What systemd starts, as the user of the unit, with credentials in a folder.</summary>
    public static string[] Start(string credentials) =>
    [
        "setpriv", "--reuid", One("User"), "--regid", One("Group"), "--clear-groups", "--no-new-privs",
        "env", "-i", $"CREDENTIALS_DIRECTORY={credentials}", .. One("ExecStart").Split(' '),
    ];
}
