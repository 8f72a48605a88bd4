namespace Aglow.Model;

/// <summary>The form of a user ID in a request. Answers repeat it in the same form.</summary>
public enum UserForm : byte
{
    /// <summary>As a JSON integer below 2^31.</summary>
    Number,

    /// <summary>As the digits of an integer below 2^31 in a string.</summary>
    Digits,

    /// <summary>As any other string.</summary>
    Key,

    /// <summary>As a JSON integer from 2^31 up.</summary>
    LargeNumber,
}
