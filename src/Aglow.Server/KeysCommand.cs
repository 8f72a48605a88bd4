using System.CommandLine;
using System.Globalization;
using System.Text;
using Aglow.Files;
using Aglow.Storage;

namespace Aglow.Server;

/// <summary>
/// <c>keys add</c>, <c>keys list</c>, <c>keys revoke</c>: the keys of backends in a data folder, even while its server runs.
/// </summary>
internal static class KeysCommand
{
    public static Command Create()
    {
        var data = CommandLine.Data();
        var name = CommandLine.Text("--name", "NAME", "The name of the key.", isRequired: true);
        var scope = CommandLine.Text(
            "--scope", "SCOPE,…", "What the key may do: heartbeat, read, users, operate; separated by commas.", isRequired: true);
        var file = CommandLine.Text(
            "--file", "FILE",
            "Writes the key into this file, which only its owner can read, and prints nothing. Does nothing if the file is not empty.");

        var add = new Command("add", "Creates a key and prints it. It cannot be printed again.") { data, name, scope, file };
        add.SetAction(parsed =>
        {
            var scopes = ApiKeys.ReadScopes(parsed.GetRequiredValue(scope));
            var keys = KeysOf(parsed);
            if (parsed.GetValue(file) is { } path)
                AddInto(path, keys, parsed.GetRequiredValue(name), scopes);
            else
                Console.Out.WriteLine(keys.Add(parsed.GetRequiredValue(name), scopes, TimeProvider.System.GetUtcNow()));
        });

        var list = new Command("list", "Lists the keys with their names, scopes and times of creation.") { data };
        list.SetAction(parsed =>
        {
            foreach (var key in KeysThere(parsed).Read())
            {
                var made = DateTimeOffset.FromUnixTimeSeconds(key.CreatedAt)
                    .ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
                Console.Out.WriteLine($"{key.Name}  {key.Scopes}  {made}  {ApiKeys.Prefix}{key.Id}_…");
            }
        });

        var revoke = new Command("revoke", "Revokes a key. Running servers refuse it within a second.") { data, name };
        revoke.SetAction(parsed => KeysThere(parsed).Revoke(parsed.GetRequiredValue(name)));

        ApiKeys KeysOf(ParseResult parsed) => new(ServeSettings.ReadFolder(parsed.GetValue(data)));

        // only "add" makes a folder
        ApiKeys KeysThere(ParseResult parsed)
        {
            var folder = ServeSettings.ReadFolder(parsed.GetValue(data));
            return Directory.Exists(folder)
                ? new ApiKeys(folder) : throw new DataFolderException($"{folder} is not a data folder: name one with --data.");
        }

        return new Command("keys", "Creates, lists and revokes the keys of backends.") { add, list, revoke };
    }

    // Images have no shell, so a deployment that makes a key at each start needs one call that may be repeated.
    private static void AddInto(string path, ApiKeys keys, string name, Scopes scopes)
    {
        if (File.Exists(path) && new FileInfo(path).Length > 0)
            return;
        // opens the file first: if that fails, no key is made that nobody could read again
        using var file = Open(path);
        file.Write(Encoding.UTF8.GetBytes(keys.Add(name, scopes, TimeProvider.System.GetUtcNow()) + "\n"));
    }

    private static FileStream Open(string path)
    {
        try
        {
            return PrivateFile.Open(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException(
                $"{path} cannot be written ({failure.Message.TrimEnd('.')}): name a file in a folder that this user may write with --file.",
                failure);
        }
    }
}
