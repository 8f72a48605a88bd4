using System.CommandLine;
using Microsoft.AspNetCore.Connections;

namespace Aglow.Server;

/// <summary><c>serve</c>: its flags are the <see cref="ServeSettings"/>.</summary>
internal static class ServeCommand
{
    public static Command Create()
    {
        var command = new Command("serve", "Runs the presence server.");
        var flags = new List<Option<string>>();
        foreach (var setting in ServeSettings.All)
        {
            var flag = new Option<string>(setting.Flag) { Description = setting.Help, HelpName = setting.Value };
            // "--allow-open" needs no value
            if (setting.IsSwitch)
                flag.Arity = ArgumentArity.ZeroOrOne;
            flags.Add(flag);
            command.Options.Add(flag);
        }

        command.SetAction((parsed, _) => RunAsync(flags
            .Where(flag => parsed.GetResult(flag) is not null)
            .ToDictionary(static flag => flag.Name, flag => Value(parsed, flag), StringComparer.Ordinal)));
        return command;
    }

    private static string Value(ParseResult parsed, Option<string> flag) =>
        parsed.GetValue(flag) ?? (flag.Arity.MinimumNumberOfValues == 0 ? "true" : "");

    private static async Task<int> RunAsync(Dictionary<string, string> flags)
    {
        try
        {
            return await ServerProcess.RunAsync(ServeSettings.Read(flags));
        }
        catch (IOException failure) when (failure.InnerException is AddressInUseException)
        {
            return CommandLine.Fail(
                CommandLine.Failed, $"{failure.Message.TrimEnd('.')}: stop the program that listens there, or choose another with --urls.");
        }
        catch (Exception failure) when (failure is not UsageException)
        {
            return CommandLine.Fail(CommandLine.Failed, failure.Message);
        }
    }
}
