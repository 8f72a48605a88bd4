namespace Aglow.Model;

/// <summary>
/// How a message names an option: the property for an application that embeds the engine, and the flag for <c>aglow serve</c>.
/// </summary>
internal static class OptionNames
{
    public const string DataDirectory = $"{nameof(AglowOptions)}.{nameof(AglowOptions.DataDirectory)} (--data)";
    public const string MemoryMegabytes = $"{nameof(AglowOptions)}.{nameof(AglowOptions.MemoryMegabytes)} (--memory-megabytes)";
    public const string DemoPeople = $"{nameof(AglowOptions)}.{nameof(AglowOptions.DemoPeople)} (--demo)";
    public const string WebhooksAllow = $"{nameof(AglowOptions)}.{nameof(AglowOptions.WebhooksAllow)} (--webhooks-allow)";
}
