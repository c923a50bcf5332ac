from awaitly.render.tracebacks import without_own_frames

LIVE = """\
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/awaitly/execute/attempts.py", line 60, in attempt
    value = await call.binding.function(*args)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/site-packages/awaitly/runtime.py", line 6, in again
    again()
  [Previous line repeated 3 more times]
  File "/home/ada/shop/awaitly.py", line 12, in charge
    return ask(order)
           ^^^^^^^^^^
  File "/home/ada/shop/bank.py", line 3, in ask
    raise OSError("no route")
OSError: no route
"""


def test_awaitlys_own_frames_are_left_out() -> None:
    assert without_own_frames(LIVE).splitlines() == [
        "Traceback (most recent call last):",
        '  File "/home/ada/shop/awaitly.py", line 12, in charge',
        "    return ask(order)",
        "           ^^^^^^^^^^",
        '  File "/home/ada/shop/bank.py", line 3, in ask',
        '    raise OSError("no route")',
        "OSError: no route",
    ]


def test_a_traceback_of_nothing_else_has_no_heading() -> None:
    text = (
        'Traceback (most recent call last):\n  File "C:\\lib\\awaitly\\execute\\perform.py", line 60, in call\n'
        "    raise error\nawaitly.errors.StepTimeout: too long\n"
    )

    assert without_own_frames(text) == "awaitly.errors.StepTimeout: too long"


def test_frames_of_groups_are_left_out_too() -> None:
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/lib/awaitly/execute/perform.py", line 60, in call\n  |     raise error\n'
        '  |   File "/home/ada/shop.py", line 3, in ask\n  |     raise group\n'
        "  | ExceptionGroup: both (2 sub-exceptions)\n"
    )

    assert without_own_frames(text).splitlines() == [
        "  + Exception Group Traceback (most recent call last):",
        '  |   File "/home/ada/shop.py", line 3, in ask',
        "  |     raise group",
        "  | ExceptionGroup: both (2 sub-exceptions)",
    ]
