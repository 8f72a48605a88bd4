using Microsoft.Data.Sqlite;

namespace Aglow.Tests;

/// <summary>The contract with all names still in memory.</summary>
public sealed class SqliteUserDirectoryTests : UserDirectoryContract, IDisposable
{
    private const uint First = UserId.FirstDirectoryNumber;

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private protected override Task<IUserDirectory> OpenAsync(TimeProvider time) => Task.FromResult<IUserDirectory>(Open());

    private SqliteUserDirectory Open() => SqliteUserDirectory.Open(_folder.Path, new ManualTimeProvider());
}
