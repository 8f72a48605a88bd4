using System.Diagnostics;

namespace Aglow.Install.Tests;

/// <summary>Runs programs to their end.</summary>
internal static class Tool
{
    /// <summary>What stands before a command that only root may run.</summary>
    public static readonly string[] AsRoot = Environment.IsPrivilegedProcess ? [] : ["sudo", "-n"];

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>The output of a program that must succeed.</summary>
    public static async Task<string> RunAsync(params string[] command)
    {
        var (code, output, errors) = await TryAsync(command);
        code.ShouldBe(0, $"{string.Join(' ', command)}: {output}{errors}");
        return output;
    }

    public static Task<(int Code, string Output, string Errors)> TryAsync(params string[] command) => TryAsync(command, input: "");

    public static async Task<(int Code, string Output, string Errors)> TryAsync(string[] command, string input)
    {
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        using var limit = new CancellationTokenSource(Limit);
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output, await errors);
    }
}
