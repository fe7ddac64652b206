async def test_a_person_registers(world):
    account, _ = await world.registered()
    assert account.default_project_id
