namespace Aglow.Client;

/// <summary>What became of a status that was chosen.</summary>
public enum StatusOutcome
{
    /// <summary>The server has saved it.</summary>
    Saved,

    /// <summary>A newer one was chosen before the server had confirmed this one.</summary>
    Replaced,
}

/// <summary>What became of a leave.</summary>
public enum LeaveOutcome
{
    /// <summary>The server has confirmed it.</summary>
    Left,

    /// <summary>The server could not be told: the user is offline when the lease expires.</summary>
    LeaseExpires,
}
