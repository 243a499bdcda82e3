"""`hearken doctor`: checks everything a worker depends on, and says for each part what is fine or what to do.

`examination` asks every check, one after the other; each is a module here that answers with `finding`s about the
`patient`. None stops another, none writes anything.
"""
