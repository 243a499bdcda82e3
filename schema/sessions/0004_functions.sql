-- What an application calls. Each refuses with a reason (SQLSTATE P0001, P0002 for what does not exist), and may be
-- called twice: what is done already is returned, not done again. Who did it is `by` in the setting hearken.note.

-- activate_invoice(code): code is the invoice's number or the content of its QR code. Returns the session, ready.
create function public.activate_invoice(code text) returns public.active_game_sessions_v2 language plpgsql as $$ begin raise exception 'not yet'; end $$;
create function public.start_session(session_id bigint) returns public.active_game_sessions_v2 language plpgsql as $$ begin raise exception 'not yet'; end $$;
create function public.pause_session(session_id bigint) returns public.active_game_sessions_v2 language plpgsql as $$ begin raise exception 'not yet'; end $$;
create function public.resume_session(session_id bigint) returns public.active_game_sessions_v2 language plpgsql as $$ begin raise exception 'not yet'; end $$;
create function public.cancel_session(session_id bigint) returns public.active_game_sessions_v2 language plpgsql as $$ begin raise exception 'not yet'; end $$;
-- counted: sessions whose minutes were counted; ended: those of them whose time is up; due: reservations whose time has come.
create function public.countdown_active_sessions(out counted bigint, out ended bigint, out due bigint) language plpgsql as $$ begin raise exception 'not yet'; end $$;
-- How many purchases were mended.
create function public.sync_purchase_session_status() returns bigint language plpgsql as $$ begin raise exception 'not yet'; end $$;
