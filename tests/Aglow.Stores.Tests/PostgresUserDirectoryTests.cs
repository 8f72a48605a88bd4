using Aglow.Postgres;
using Aglow.Users;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Stores.Tests;

/// <summary>The contract on a real server.</summary>
[Collection(PostgresCollection.Name)]
public sealed class PostgresUserDirectoryTests(PostgresServer server) : UserDirectoryContract
{
    private protected override async Task<IUserDirectory> OpenAsync(TimeProvider time)
    {
        if (await server.Process.ExecuteAsync("SELECT to_regclass('aglow.state')::text") is string)
        {
            await server.Process.ExecuteAsync(
                "TRUNCATE aglow.ids, aglow.profile, aglow.account, aglow.claim, aglow.subscription, aglow.visibility, aglow.relation;"
                + "UPDATE aglow.state SET next_index = 2147483648, change = 0");
        }

        return await PostgresUserDirectory.OpenAsync(server.Process.Options(), time, NullLoggerFactory.Instance);
    }
}
