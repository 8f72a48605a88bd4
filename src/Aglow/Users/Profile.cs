namespace Aglow.Users;

/// <summary>The names of a user, which search finds. Optional: an ID works without them.</summary>
/// <param name="UserName">Unique after NFKC normalization and case folding; null if there is none.</param>
/// <param name="DisplayName">What people see; null if there is none.</param>
/// <param name="CreatedAt">When the profile was created, in seconds since 1970-01-01 UTC.</param>
/// <param name="UpdatedAt">When it last changed, in seconds since 1970-01-01 UTC.</param>
public sealed record Profile(string? UserName, string? DisplayName, long CreatedAt, long UpdatedAt);

/// <summary>A user that a search found.</summary>
/// <param name="User">The index.</param>
/// <param name="Id">The ID, as text.</param>
/// <param name="Profile">The names.</param>
public sealed record DirectoryUser(uint User, string Id, Profile Profile);

/// <summary>A page of search results, and the start of the next page; null on the last page.</summary>
public sealed record DirectoryPage(IReadOnlyList<DirectoryUser> Users, string? Next);

/// <summary>Which names of a profile to write; the others do not change.</summary>
[Flags]
public enum ProfileParts : byte
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>The user name.</summary>
    UserName = 1,

    /// <summary>The display name.</summary>
    DisplayName = 2,

    /// <summary>Both: the profile is replaced.</summary>
    Both = UserName | DisplayName,
}

/// <summary>One profile to write. A profile without any name left is removed.</summary>
/// <param name="User">The index.</param>
/// <param name="UserName">1 to 128 bytes of UTF-8; null removes it.</param>
/// <param name="DisplayName">1 to 256 bytes of UTF-8; null removes it.</param>
/// <param name="Parts">What to write.</param>
public sealed record ProfileWrite(uint User, string? UserName, string? DisplayName, ProfileParts Parts = ProfileParts.Both);

/// <summary>Why profiles were not written.</summary>
public enum ProfileConflict : byte
{
    /// <summary>They were written.</summary>
    None,

    /// <summary>The user has a profile already.</summary>
    UserTaken,

    /// <summary>Another user has the user name.</summary>
    NameTaken,
}

/// <summary>The result of a write of profiles.</summary>
/// <param name="Created">How many users had no profile before.</param>
/// <param name="Replaced">How many had one.</param>
/// <param name="Conflict">Why nothing was written.</param>
/// <param name="ConflictAt">Which of the writes caused it, counted from 0.</param>
public readonly record struct ProfileResult(
    int Created, int Replaced, ProfileConflict Conflict = ProfileConflict.None, int ConflictAt = -1);
