using System.Text;

namespace Aglow.Users;

/// <summary>Finds the indexes of IDs: at once if this node knows them, else through the directory.</summary>
/// <remarks>Threading: any thread.</remarks>
/// <param name="directory">Gives indexes; null: only IDs that are their own index have one.</param>
/// <param name="known">The IDs that this node knows.</param>
/// <param name="registered">Called with an ID and its index after this node gave the ID its index.</param>
internal sealed class KeyResolver(IUserDirectory? directory, KeyCache known, Action<string, uint> registered)
{
    /// <summary>The index of a user; <see cref="UserId.Nobody"/> for an ID that has none.</summary>
    /// <param name="user">The ID.</param>
    /// <param name="register">Whether an ID that has no index gets one: durable when this completes.</param>
    public async ValueTask<uint> ResolveAsync(UserId user, bool register)
    {
        if (user.Key is not { } key)
            return user.Number;
        if (known.TryGet(Encoding.UTF8.GetBytes(key), out var index))
            return index;
        if (directory is null)
            return UserId.Nobody;
        var indexes = await QueryAsync(directory, [key], register);
        return indexes[0] == 0 ? UserId.Nobody : indexes[0];
    }

    /// <summary>
    /// Sets the indexes of the users of a batch. IDs without one stay <see cref="UserId.Nobody"/>, unless they get one here.
    /// </summary>
    public async ValueTask ResolveAsync(UserBatch users, bool register)
    {
        if (users.Unresolved is not { Count: > 0 } unresolved || directory is null)
            return;
        var keys = new string[unresolved.Count];
        for (var i = 0; i < keys.Length; i++)
            keys[i] = Encoding.UTF8.GetString(users.Text(unresolved[i]));
        var indexes = await QueryAsync(directory, keys, register);
        for (var i = 0; i < keys.Length; i++)
        {
            if (indexes[i] != 0)
                users.Resolve(unresolved[i], indexes[i]);
        }
    }

    // returns 0 for IDs without an index
    private async ValueTask<uint[]> QueryAsync(IUserDirectory source, string[] keys, bool register)
    {
        var indexes = new uint[keys.Length];
        var isAnyNew = false;
        if (register)
            isAnyNew = await source.RegisterAsync(keys, indexes) > 0;
        else
            await source.FindIndexesAsync(keys, indexes);
        for (var i = 0; i < keys.Length; i++)
        {
            if (indexes[i] == 0)
                continue;
            known.Add(Encoding.UTF8.GetBytes(keys[i]), indexes[i]);
            if (isAnyNew)
                registered(keys[i], indexes[i]);
        }

        return indexes;
    }
}
