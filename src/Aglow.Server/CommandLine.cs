using System.CommandLine;
using System.CommandLine.Parsing;
using Aglow.Storage;

namespace Aglow.Server;

/// <summary>Runs commands. An error is one line on the error stream, and the exit code 2 for wrong usage, else 1.</summary>
internal static class CommandLine
{
    public const int Fine = 0;
    public const int Failed = 1;
    public const int Usage = 2;

    private const string DataFlag = "--data";
    private static readonly string[] Paths = ["DIR", "FILE"];

    public static async Task<int> RunAsync(Command commands, string[] args)
    {
        var parsed = commands.Parse(args.Length == 0 ? ["--help"] : args);
        if (parsed.Errors is [var wrong, ..])
        {
            var command = parsed.CommandResult.Command;
            var what = command.Subcommands.Count > 0 && parsed.UnmatchedTokens is [var unknown, ..]
                ? $"\"{unknown}\" is not a command"
                : wrong.Message.TrimEnd('.').Replace("as expected type 'System.Int32'", "as a whole number", StringComparison.Ordinal);
            return Fail(Usage, $"{what}. See aglow {string.Concat(NamesOf(command))}--help.");
        }

        if (EmptyPath(parsed) is { } empty)
            return Fail(Usage, $"{empty}.");
        try
        {
            return await parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (UsageException usage)
        {
            return Fail(Usage, $"{usage.Message.TrimEnd('.')}.");
        }
        catch (Exception failure) when (
            failure is DataFolderException or UnreachableException or IOException or UnauthorizedAccessException)
        {
            return Fail(Failed, failure.Message);
        }
        catch (Exception fault) when (fault is not OperationCanceledException)
        {
            return Fail(Failed, $"{fault.Message.TrimEnd('.')} ({fault.GetType().Name}): this is a fault of aglow, please report it.");
        }
    }

    // no file and no folder has an empty name; a script whose variable is not set gives one
    private static string? EmptyPath(ParseResult parsed)
    {
        foreach (var given in parsed.CommandResult.Children)
        {
            var (name, value) = given switch
            {
                OptionResult { Option: var option } => (option.Name, option.HelpName),
                ArgumentResult { Argument: var argument } => (argument.HelpName, argument.HelpName),
                _ => (null, null),
            };
            if (Paths.Contains(value) && given.Tokens.Any(static token => token.Value.Length == 0))
                return $"{name} is empty: name a {(value == "DIR" ? "folder" : "file")}";
        }

        return null;
    }

    /// <summary>An option with a text; null if it is not given and has no default.</summary>
    public static Option<string> Text(string flag, string value, string description, bool isRequired = false, string? otherwise = null)
    {
        var option = new Option<string>(flag) { Description = description, HelpName = value, Required = isRequired };
        if (otherwise is not null)
            option.DefaultValueFactory = _ => otherwise;
        return option;
    }

    /// <summary>The option that names a data folder.</summary>
    public static Option<string> Data() => Text(DataFlag, "DIR", "The data folder; default: the folder of serve.");

    /// <summary>The folder that <see cref="Data"/> names, or else that of <c>serve</c>.</summary>
    public static string FolderOf(ParseResult parsed, Option<string> data)
    {
        var flags = new Dictionary<string, string>(StringComparer.Ordinal);
        if (parsed.GetValue(data) is { } folder)
            flags[DataFlag] = folder;
        return ServeSettings.Read(flags).Presence.DataDirectory;
    }

    // the names of a command below the root: "webhooks add "
    private static IEnumerable<string> NamesOf(Command command) =>
        command.Parents.OfType<Command>().FirstOrDefault() is { } parent ? [.. NamesOf(parent), $"{command.Name} "] : [];

    /// <summary>Reports an error in one line.</summary>
    public static int Fail(int code, string message)
    {
        var end = message.IndexOfAny(['\r', '\n']);
        Console.Error.WriteLine($"aglow: {(end < 0 ? message : message[..end])}");
        return code;
    }
}

/// <summary>Wrong usage. The message is one line that says what to do instead.</summary>
internal sealed class UsageException(string message) : Exception(message);
