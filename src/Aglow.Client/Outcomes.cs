namespace Aglow.Client;

/// <summary>The outcome of a status that the application chose.</summary>
public enum StatusOutcome
{
    /// <summary>The server has saved it.</summary>
    Saved,

    /// <summary>The user chose a newer status before the server had confirmed this one.</summary>
    Replaced,
}

/// <summary>The outcome of a leave.</summary>
public enum LeaveOutcome
{
    /// <summary>The server has confirmed it.</summary>
    Left,

    /// <summary>The server did not confirm the leave: the user goes offline when the lease expires.</summary>
    LeaseExpires,
}
